import { once } from "node:events";
import { request } from "node:http";
import { type AddressInfo, connect, createServer } from "node:net";
import { expect, test } from "vitest";
import { PullProxy } from "../../../docker/gateway/src/backends/msb/pull-proxy";
import { atFileEnd } from "../../harness/file-end";
import { randomFrom } from "../../harness/random";

/** What msb gets through the proxy of a registry without TLS that answers with these bytes; undefined: no answer. */
async function passedOn(bytes: string) {
  const registry = createServer((socket) =>
    socket.on("error", () => undefined).once("data", () => socket.end(bytes, "latin1")),
  );
  registry.listen(0, "127.0.0.1");
  await once(registry, "listening");
  const { port } = registry.address() as AddressInfo;
  const lease = proxy.lease({
    ...{ port: 5000, named: new Set(["plain.test:5000"]), plain: new Set(["plain.test:5000"]) },
  });
  at = port;
  const { hostname, port: proxyPort, username, password } = new URL(lease.env.HTTP_PROXY ?? "");
  const login = `Basic ${Buffer.from(`${username}:${password}`).toString("base64")}`;
  const asked = request({
    ...{ host: hostname, port: proxyPort, path: "http://plain.test:5000/v2/" },
    headers: { "proxy-authorization": login },
    agent: false,
  });
  try {
    return await new Promise<{ status?: number; headers: object; text: string } | undefined>((resolve) => {
      asked.on("error", () => resolve(undefined)).on("upgrade", () => resolve(undefined));
      asked.on("response", async (response) => {
        let text = "";
        for await (const chunk of response) text += chunk;
        resolve({ status: response.statusCode, headers: response.headers, text });
      });
      asked.end();
    });
  } finally {
    lease.end();
    registry.close();
  }
}

let at = 0;
const proxy = await PullProxy.open({
  names: { lookup: async () => ["127.0.0.1"] },
  connect: () => connect(at, "127.0.0.1"),
});
atFileEnd(() => proxy.close());

test("a registry's answer is passed on with the headers that a client of registries reads", async () => {
  const head = [
    ...["HTTP/1.1 401 Unauthorized", 'WWW-Authenticate: Bearer realm="https://auth.test/t"', "X-Other: 1"],
    ...["Docker-Distribution-Api-Version: registry/2.0", "Content-Type: text/plain", "Content-Length: 2"],
  ];
  expect(await passedOn(`${head.join("\r\n")}\r\n\r\nno`)).toEqual({
    ...{ status: 401, text: "no" },
    headers: {
      ...{ "www-authenticate": 'Bearer realm="https://auth.test/t"', "content-length": "2" },
      ...{ "docker-distribution-api-version": "registry/2.0", "content-type": "text/plain" },
      ...{ date: expect.any(String), connection: "close" },
    },
  });
});

test.each([
  ["a trailer that its length has no room for", "HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nContent-Length: 2"],
  ["a status that is none", "HTTP/1.1 099 Odd\r\nContent-Length: 2"],
  ["a change of protocol", "HTTP/1.1 101 S\r\nConnection: Upgrade\r\nUpgrade: x"],
])("%s ends nothing but the pull's connection", async (_name, head) => {
  const answered = await passedOn(`${head}\r\n\r\nok`);
  if (answered) expect(answered).toMatchObject({ status: 200, text: "ok" });
  expect(await passedOn("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")).toMatchObject({ status: 200 });
});

test("no answer of a registry's ends the server, whatever its status and headers", async () => {
  const random = randomFrom(4);
  const names = [
    "Trailer",
    "Transfer-Encoding",
    "Content-Length",
    "Connection",
    "Upgrade",
    "Location",
    "Date",
  ];
  const values = ["chunked", "0", "2", "close", "keep-alive, upgrade", "x", "X-Sum", "\x80\xff", ""];
  for (let round = 0; round < 300; round++) {
    const status = String(random.between(0, 999)).padStart(3, "0");
    const headers = Array.from({ length: random.between(0, 4) }, () => {
      const [name, value] = [random.pick(names), random.pick(values)];
      return `${name}: ${value}\r\n`;
    });
    await passedOn(`HTTP/1.1 ${status} R\r\n${headers.join("")}\r\n2\r\nok\r\n0\r\n\r\n`);
  }
  expect(await passedOn("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")).toMatchObject({ status: 200 });
});
