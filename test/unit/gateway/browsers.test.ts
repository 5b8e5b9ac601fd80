import { connect } from "node:net";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { isSafeHost, refuseKeyInAddress } from "../../../docker/gateway/src/http/browser-guard";
import { writeKeyFile } from "../../harness/key-file";
import { TestGateway, temporaryFolder } from "./harness";

/** The status of one request, written as it is: fetch sets Host and Origin by itself. */
function statusOf(
  { url }: TestGateway,
  headers: Record<string, string>,
  line = "GET /v1/quotas",
): Promise<number> {
  const { hostname, port, host } = new URL(url);
  const fields = Object.entries({ host, connection: "close", authorization: "Bearer right", ...headers });
  const text = fields.map(([name, value]) => `${name}: ${value}\r\n`).join("");
  return new Promise((resolve, reject) => {
    const socket = connect(Number(port), hostname, () => socket.write(`${line} HTTP/1.1\r\n${text}\r\n`));
    socket.once("data", (data) => {
      resolve(Number(String(data).split(" ")[1]));
      socket.destroy();
    });
    socket.once("error", reject);
  });
}

const upgrade = {
  ...{ connection: "Upgrade", upgrade: "websocket" },
  ...{ "sec-websocket-version": "13", "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==" },
};

describe.each(["dev mode", "keys"])("pages in a browser, %s", (mode) => {
  let gateway: TestGateway;
  let own: string;
  beforeAll(async () => {
    const file = join(temporaryFolder(), "keys");
    writeKeyFile(file, [{ id: "a", key: "right" }]);
    gateway = await TestGateway.start(mode === "keys" ? { DEV_MODE: "false", API_KEYS_FILE: file } : {});
    own = new URL(gateway.url).host;
  });

  test.each([
    ["a script of another site", { origin: "https://evil.example" }],
    ["a page of a sandboxed frame, or a local file", { origin: "null" }],
    ["another port of this machine", { origin: "http://127.0.0.1:1" }],
    ["an image or a form of another site", { "sec-fetch-site": "cross-site" }],
    ["a sister site", { "sec-fetch-site": "same-site" }],
  ])("%s is refused", async (_what, headers) => {
    expect(await statusOf(gateway, headers)).toBe(403);
    expect(await statusOf(gateway, headers, "POST /v1/sandboxes/by-name/box/stop")).toBe(403);
    expect(await statusOf(gateway, { ...headers, ...upgrade }, "GET /v1/sandboxes/x/agent")).toBe(403);
  });

  test("a name that DNS points here (rebinding) is refused where no key is asked for", async () => {
    const expected = mode === "keys" ? 200 : 403;
    const host = `evil.example:${own.split(":")[1]}`;
    expect(await statusOf(gateway, { host })).toBe(expected);
    expect(await statusOf(gateway, { host, origin: `http://${host}` })).toBe(expected);
    expect(await statusOf(gateway, { host, ...upgrade }, "GET /v1/sandboxes/x/agent")).toBe(
      mode === "keys" ? 404 : 403,
    );
  });

  test("a body that a form can send is not read", async () => {
    const headers = { "content-type": "text/plain", "content-length": "2" };
    expect(await statusOf(gateway, headers, "POST /v1/sandboxes")).toBe(415);
  });

  test("programs, and what a person types in the address bar, are served", async () => {
    const served: Record<string, string>[] = [
      {},
      { "sec-fetch-site": "none" },
      { host: "localhost:5555" },
      { host: "[::1]:5555" },
    ];
    for (const headers of served) expect(await statusOf(gateway, headers)).toBe(200);
    expect(await statusOf(gateway, { origin: `http://${own}`, "sec-fetch-site": "same-origin" })).toBe(200);
    expect((await gateway.get("/v1/quotas", { authorization: "Bearer right" })).status).toBe(200);
  });
});

test("a server in dev mode answers to the names that it was given", async () => {
  const gateway = await TestGateway.start({ HOST_NAMES: "kvm.example.com,other.example" });
  expect(await statusOf(gateway, { host: "KVM.example.com:5555" })).toBe(200);
  expect(await statusOf(gateway, { host: "other.example" })).toBe(200);
  expect(await statusOf(gateway, { host: "kvm.example.com.evil.example" })).toBe(403);
});

test.each([
  ["127.0.0.1:5555", true],
  ["192.168.1.5", true],
  ["[fd00::1]:5555", true],
  ["localhost", true],
  ["app.localhost:80", true],
  ["localhost.", true],
  ["microsandbox-dev-server:5555", true],
  ["", true],
  ["evil.example", false],
  ["evil.example.", false],
  ["127.0.0.1.evil.example", false],
  ["localhost.evil.example:5555", false],
  ["1.2.3.4.5", false],
])("the host %j: %s", (host, safe) => {
  expect(isSafeHost(host, [])).toBe(safe);
});

test.each([
  "/v1/sandboxes?api_key=x",
  "/v1/sandboxes?limit=1&API-KEY=",
  "/v1/sandboxes?token=x",
  "/v1/sandboxes?access_token=x",
  "/v1/sandboxes?cursor=msb_0123",
  "/v1/sandboxes?Authorization=Bearer+x",
  "/v1/sandboxes?%6bey=x",
])("%s is refused: an address is no place for a key", (url) => {
  expect(() => refuseKeyInAddress(url)).toThrow(/Authorization: Bearer/);
});

test.each([
  "/v1/sandboxes",
  "/v1/sandboxes?limit=5&labels=%7B%22key%22%3A%22a%22%7D",
  "/v1/sandboxes?cursor=WyJ",
])("%s holds no key", (url) => {
  expect(() => refuseKeyInAddress(url)).not.toThrow();
});
