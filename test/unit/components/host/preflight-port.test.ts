import { type AddressInfo, createServer, type Server } from "node:net";
import { describe, expect, test } from "vitest";
import type { PreflightReport } from "../../../../components/host/preflight-report";
import {
  any,
  any6,
  expectRefusal,
  type Host,
  loopback,
  loopback6,
  mapped,
  preflight,
  socket,
} from "./preflight-host";

describe("a port or an address that the server can't have", () => {
  test.each<[string, PreflightReport["code"], Host, RegExp, RegExp]>([
    [
      "a port of another container",
      "port-taken",
      { containers: ["web\t80/tcp, 127.0.0.1:5555->80/tcp"] },
      /Port 5555 on 127.0.0.1 is taken: the container web publishes it on 127.0.0.1/,
      /docker stop web.*hostPort 5556/,
    ],
    [
      "in a range, on any address",
      "port-taken",
      {
        containers: [
          "msb-dev-server\t",
          "web\t0.0.0.0:5550-5560->5550-5560/tcp, [::]:5550-5560->5550-5560/tcp",
        ],
      },
      /container web publishes it on 0.0.0.0/,
      /docker stop web/,
    ],
    [
      "any address wanted, one taken",
      "port-taken",
      { containers: ["web\t127.0.0.1:5555->80/tcp"], env: { BIND_ADDRESS: "0.0.0.0" } },
      /Port 5555 on 0.0.0.0/,
      /microsandbox:hostPort 5556/,
    ],
    [
      "a listener",
      "port-taken",
      { sockets: [socket(loopback, 5555)] },
      /another process listens on 127.0.0.1/,
      /ss -ltnp/,
    ],
    [
      "a listener on any address",
      "port-taken",
      { sockets: [socket(any, 5555)] },
      /listens on 0.0.0.0/,
      /ss -ltnp/,
    ],
    [
      "a listener on any IPv6 address",
      "port-taken",
      { sockets: [socket(any6, 5555)] },
      /listens on ::/,
      /ss -ltnp/,
    ],
    [
      "an IPv4 listener in IPv6 form",
      "port-taken",
      { sockets: [socket(mapped, 5555)] },
      /on 127.0.0.1/,
      /ss -ltnp/,
    ],
    [
      "IPv6 loopback",
      "port-taken",
      { sockets: [socket(loopback6, 5555)], env: { BIND_ADDRESS: "::1" } },
      /listens on ::1/,
      /ss -ltnp/,
    ],
    [
      "the last port",
      "port-taken",
      { sockets: [socket(any, 65535)], env: { HOST_PORT: "65535" } },
      /Port 65535/,
      /hostPort 5555/,
    ],
    [
      "our container moves to any address, where another process listens on one",
      "port-taken",
      {
        containers: ["msb-dev-server\t127.0.0.1:5555->5555/tcp"],
        sockets: [socket(loopback, 5555), socket("0100000A", 5555)],
        env: { BIND_ADDRESS: "0.0.0.0" },
      },
      /listens on 10.0.0.1/,
      /ss -ltnp/,
    ],
    [
      "an address of another machine",
      "no-such-address",
      { env: { BIND_ADDRESS: "203.0.113.7" } },
      /no address 203.0.113.7, it has: .*127.0.0.1/,
      /bindAddress 127.0.0.1/,
    ],
  ])("%s: %s", (_, code, host, message, remedy) => expectRefusal(host, code, message, remedy));
});

describe("a real listener of this machine", () => {
  async function listen(address: string): Promise<{ server: Server; port: number }> {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, address, resolve));
    return { server, port: (server.address() as AddressInfo).port };
  }

  test("is found, and named with its process", async () => {
    const { server, port } = await listen("127.0.0.1");
    try {
      const env = { HOST_PORT: String(port) };
      const { report } = preflight({ sockets: "real", env });
      expect(report).toMatchObject({ ok: false, code: "port-taken" });
      expect(report.message).toContain(`Port ${port} on 127.0.0.1 is taken: `);
      expect(report.message).toContain(`(pid ${process.pid}) listens on 127.0.0.1.`);
      const elsewhere = preflight({ sockets: "real", env: { ...env, BIND_ADDRESS: "127.0.0.2" } });
      expect(elsewhere.report.ok).toBe(true);
    } finally {
      server.close();
    }
    await new Promise((resolve) => server.once("close", resolve));
    expect(preflight({ sockets: "real", env: { HOST_PORT: String(port) } }).report.ok).toBe(true);
  });
});
