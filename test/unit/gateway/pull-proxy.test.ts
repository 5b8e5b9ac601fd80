import { once } from "node:events";
import { createServer as createHttpServer, request } from "node:http";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { describe, expect, test } from "vitest";
import { isPublic, PullProxy } from "../../../docker/gateway/src/backends/msb/pull-proxy";
import { RegistryRules } from "../../../docker/gateway/src/backends/msb/registry-rules";
import {
  applyRegistrySettings,
  type RegistrySettings,
} from "../../../docker/gateway/src/backends/msb/registry-settings";
import { atFileEnd } from "../../harness/file-end";
import { randomFrom } from "../../harness/random";
import { temporaryFolder } from "./harness";

/** A proxy to whose eyes names are at those addresses, and to whom every address is a server here. */
async function proxyOver(
  addresses: Record<string, string[] | (() => string[])>,
  closedRanges: () => string[] = () => [],
) {
  const reached: string[] = [];
  const server = createServer((socket) => socket.on("data", (data) => socket.write(`echo ${data}`)));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const http = createHttpServer((incoming, answer) =>
    answer.end(`plain ${incoming.headers.host}${incoming.url}`),
  );
  http.listen(0, "127.0.0.1");
  await once(http, "listening");
  const lookup = async (host: string) => {
    const found = addresses[host];
    if (!found) throw new Error("ENOTFOUND");
    return typeof found === "function" ? found() : found;
  };
  const portOf = (at: typeof server | typeof http) => (at.address() as AddressInfo).port;
  const proxy = await PullProxy.open({
    names: { lookup, resolve: lookup },
    closedRanges,
    connect: (port, address) => {
      reached.push(`${address}:${port}`);
      return connect(portOf(port === 5000 ? http : server), "127.0.0.1");
    },
  });
  atFileEnd(() => {
    proxy.close();
    server.close();
    http.close();
  });
  return { proxy, reached };
}

/** The proxy's status for a tunnel, and what comes back through it. */
async function tunnel(url: string, target: string): Promise<{ status: number; socket: Socket }> {
  const { hostname, port, username, password } = new URL(url);
  const login = `Basic ${Buffer.from(`${username}:${password}`).toString("base64")}`;
  const asked = request({
    host: hostname,
    port,
    method: "CONNECT",
    path: target,
    headers: { "proxy-authorization": login },
  });
  asked.end();
  const [answer, socket] = await once(asked, "connect");
  return { status: answer.statusCode, socket };
}

async function plain(url: string, target: string): Promise<{ status: number; text: string }> {
  const { hostname, port, username, password } = new URL(url);
  const login = `Basic ${Buffer.from(`${username}:${password}`).toString("base64")}`;
  const asked = request({
    host: hostname,
    port,
    path: target,
    headers: { "proxy-authorization": login, host: "other" },
  });
  asked.end();
  const [answer] = await once(asked, "response");
  let text = "";
  for await (const chunk of answer) text += chunk;
  return { status: answer.statusCode, text };
}

async function rules(settings: RegistrySettings): Promise<RegistryRules> {
  const home = temporaryFolder();
  await applyRegistrySettings(home, settings);
  const made = new RegistryRules(home);
  await made.current();
  return made;
}

const PUBLIC = ["8.8.8.8"];
const named = {
  plainHttp: ["plain.internal:5000"],
  logins: { "10.0.0.5:5001": { username: "u", password: "p" } },
};

describe("what a pull may reach", () => {
  const addresses = {
    "registry.test": PUBLIC,
    "auth.test": PUBLIC,
    "inner.test": ["10.0.0.9"],
    "both.test": ["127.0.0.1", "8.8.4.4"],
    "plain.internal": ["10.0.0.6"],
    localhost: ["127.0.0.1", "::1"],
    metadata: ["169.254.169.254"],
    "mapped.test": ["::ffff:10.0.0.1"],
    "nat64.test": ["64:ff9b::a00:1"],
  };

  test.each([
    ["registry.test/x", "registry.test:443", 200],
    ["registry.test/x", "auth.test:443", 200],
    ["registry.test:8443/x", "registry.test:8443", 200],
    ["registry.test:8443/x", "auth.test:443", 200],
    ["registry.test/x", "registry.test:22", 403],
    ["registry.test/x", "inner.test:443", 403],
    ["registry.test/x", "both.test:443", 200],
    ["registry.test/x", "nowhere.test:443", 403],
    ["registry.test/x", "localhost:443", 403],
    ["registry.test/x", "metadata:443", 403],
    ["registry.test/x", "mapped.test:443", 403],
    ["registry.test/x", "nat64.test:443", 403],
    ["registry.test/x", "127.0.0.1:443", 403],
    ["registry.test/x", "0x7f.1:443", 403],
    ["registry.test/x", "2130706433:443", 403],
    ["registry.test/x", "[::1]:443", 403],
    ["registry.test/x", "8.8.8.8:443", 403],
    // Names of the settings are for pulls from what the settings name.
    ["registry.test/x", "10.0.0.5:5001", 403],
    ["registry.test:5000/x", "plain.internal:5000", 403],
    ["10.0.0.5:5001/x", "10.0.0.5:5001", 200],
    ["10.0.0.5:5001/x", "10.0.0.5:5002", 403],
    ["10.0.0.5:5001/x", "10.0.0.6:5001", 403],
    ["10.0.0.5:5001/x", "auth.test:443", 200],
  ])("from %s: %s is answered %i", async (reference, target, status) => {
    const { proxy, reached } = await proxyOver(addresses);
    const lease = proxy.lease((await rules(named)).reachOf(reference));
    const { status: answered, socket } = await tunnel(lease.env.HTTPS_PROXY ?? "", target);
    expect(answered).toBe(status);
    expect(lease.refused()).toBe(status === 403);
    if (status === 200) {
      socket.write("hello");
      expect(String((await once(socket, "data"))[0])).toBe("echo hello");
      lease.end();
      await once(socket, "close");
    } else expect(reached).toEqual([]);
    expect(reached.every((address) => !/^127|^10\.0\.0\.9/.test(address))).toBe(true);
  });

  test.each([
    ["registry.test/x", "of-host.test:443", 403],
    ["registry.test/x", "mapped-host.test:443", 403],
    ["registry.test/x", "of-host-6.test:443", 403],
    ["registry.test/x", "beside.test:443", 200],
    // What the settings name is there on purpose.
    ["of-host.test:5001/x", "of-host.test:5001", 200],
  ])(
    "of the host's own public addresses only what is named: from %s, %s is answered %i",
    async (reference, target, status) => {
      const hosts = {
        ...{ "of-host.test": ["203.0.114.9"], "mapped-host.test": ["::ffff:203.0.114.9"] },
        ...{ "of-host-6.test": ["2a01:4f8::7"], "beside.test": ["203.0.115.1"] },
      };
      const { proxy } = await proxyOver(hosts, () => ["203.0.114.0/24", "2a01:4f8::/64"]);
      const logins = { "of-host.test:5001": { username: "u", password: "p" } };
      const lease = proxy.lease((await rules({ logins })).reachOf(reference));
      const answered = await tunnel(lease.env.HTTPS_PROXY ?? "", target);
      expect(answered.status).toBe(status);
      lease.end();
      answered.socket.destroy();
    },
  );

  test("while the host's own addresses are not known, nothing is reached but what is named", async () => {
    const { proxy, reached } = await proxyOver({ "a.test": ["203.0.114.9"] }, () => {
      throw new Error("they are not known");
    });
    const logins = { "a.test:5001": { username: "u", password: "p" } };
    const lease = proxy.lease((await rules({ logins })).reachOf("a.test:5001/x"));
    await expect(tunnel(lease.env.HTTPS_PROXY ?? "", "a.test:443")).rejects.toThrow();
    expect(reached).toEqual([]);
    const named = await tunnel(lease.env.HTTPS_PROXY ?? "", "a.test:5001");
    expect([named.status, reached]).toEqual([200, ["203.0.114.9:5001"]]);
    named.socket.destroy();
  });

  test("without TLS only what the settings say has none", async () => {
    const { proxy } = await proxyOver(addresses);
    const own = proxy.lease((await rules(named)).reachOf("plain.internal:5000/x"));
    const url = own.env.HTTP_PROXY ?? "";
    expect(await plain(url, "http://plain.internal:5000/v2/?a=b")).toEqual({
      ...{ status: 200, text: "plain plain.internal:5000/v2/?a=b" },
    });
    for (const target of [
      "http://registry.test/v2/",
      "http://10.0.0.5:5001/",
      "http://169.254.169.254/latest",
      "/metrics",
    ])
      expect((await plain(url, target)).status, target).toBe(403);
    const other = proxy.lease((await rules(named)).reachOf("registry.test/x"));
    expect((await plain(other.env.HTTP_PROXY ?? "", "http://plain.internal:5000/v2/")).status).toBe(403);
  });

  test("is looked up once for each connection, which goes to the address that was looked at", async () => {
    let asked = 0;
    const rebinding = () => (asked++ % 2 === 0 ? PUBLIC : ["127.0.0.1"]);
    const { proxy, reached } = await proxyOver({ "rebinding.test": rebinding });
    const lease = proxy.lease((await rules({})).reachOf("rebinding.test/x"));
    const statuses = [];
    for (let round = 0; round < 6; round++) {
      const { status, socket } = await tunnel(lease.env.HTTPS_PROXY ?? "", "rebinding.test:443");
      statuses.push(status);
      socket.destroy();
    }
    expect(statuses).toEqual([200, 403, 200, 403, 200, 403]);
    expect(new Set(reached)).toEqual(new Set(["8.8.8.8:443"]));
  });

  test("ends with the pull, and nobody else passes", async () => {
    const { proxy } = await proxyOver(addresses);
    const lease = proxy.lease((await rules({})).reachOf("registry.test/x"));
    const url = lease.env.HTTPS_PROXY ?? "";
    lease.end();
    expect((await tunnel(url, "registry.test:443")).status).toBe(407);
    expect((await tunnel(url.replace(/:[0-9a-f]{48}@/, ":x@"), "registry.test:443")).status).toBe(407);
  });
});

describe("which registries may be named", () => {
  test.each([
    [
      undefined,
      ["docker.io", "ghcr.io", "localhost", "a.b:5000"],
      ["127.0.0.1:5000", "8.8.8.8", "192.168.0.1"],
    ],
    [
      ["ghcr.io", "*.example.com"],
      ["ghcr.io", "a.example.com", "a.b.example.com:5000"],
      ["docker.io", "example.com", "ghcr.io:444", "evilexample.com", "quay.io"],
    ],
    [
      ["*", "10.1.1.1:5000"],
      ["quay.io", "10.1.1.1:5000"],
      ["10.1.1.1", "10.1.1.2:5000"],
    ],
    [[], [], ["docker.io", "quay.io"]],
  ])("where allowed is %j", async (allowed, yes, no) => {
    const made = await rules({ allowed });
    const may = (registry: string) => {
      try {
        return Boolean(made.reachOf(`${registry}/a/b:1`));
      } catch (error) {
        expect(error).toMatchObject({ kind: "invalidSpec" });
        return false;
      }
    };
    expect(yes.filter((registry) => !may(registry))).toEqual([]);
    expect(no.filter(may)).toEqual([]);
  });
});

test("public addresses are those of no special range, for any address in one", () => {
  const random = randomFrom(7);
  const byte = () => random.between(0, 255);
  for (let round = 0; round < 500; round++) {
    const rest = `${byte()}.${byte()}`;
    for (const start of [
      "10.1",
      "127.0",
      "169.254",
      "192.168",
      "172.20",
      "100.64",
      "198.18",
      "224.1",
      "240.0",
      "0.0",
    ])
      for (const form of [
        `${start}.${rest}`,
        `::ffff:${start}.${rest}`,
        `64:ff9b::${start}.${rest}`,
        `::${start}.${rest}`,
      ])
        expect(isPublic(form), form).toBe(false);
    expect(isPublic(`8.8.${rest}`)).toBe(true);
  }
  for (const address of [
    "::1",
    "::",
    "fe80::1",
    "fc00::1",
    "fd12::1",
    "2002:a00:1::",
    "64:ff9b:1::1",
    "ff02::1",
    "x",
    "",
  ])
    expect(isPublic(address), address).toBe(false);
  expect(isPublic("2606:4700::1111")).toBe(true);
});
