import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { request } from "node:https";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { connect, type PeerCertificate } from "node:tls";
import { expect, test, vi } from "vitest";
import { WebSocket } from "ws";
import { createGateway } from "../../../docker/gateway/src/app";
import { readConfig } from "../../../docker/gateway/src/config";
import { Metrics } from "../../../docker/gateway/src/http/metrics";
import { ServerCertificate, serveHealth } from "../../../docker/gateway/src/http/tls";
import { testAuthority } from "../../harness/authority";
import { FAKE_MSB, temporaryFolder, until } from "./harness";

const authority = testAuthority();
const issue = () => authority.issue(["127.0.0.1", "localhost"]);

async function start(pem?: string) {
  const home = temporaryFolder();
  const file = join(home, "tls.pem");
  if (pem) writeFileSync(file, pem, { mode: 0o400 });
  const config = readConfig({
    ...{ MSB_PATH: FAKE_MSB, MSB_HOME: home, WORKSPACE: home, STARTER_ARCHIVE: "", DEV_MODE: "true" },
    ...{ LOG_LEVEL: "silent", TLS_FILE: file },
  });
  const { app, backend } = await createGateway(config);
  const { readiness } = backend;
  await app.listen({ port: 0, host: "127.0.0.1" });
  const { port } = app.server.address() as AddressInfo;
  const close = async () => {
    await app.close();
  };
  return { app, readiness, file, port, close };
}

/** A GET over TLS, trusting the authority alone. */
function get(port: number, path: string, options: object = {}): Promise<{ status: number; serial: string }> {
  return new Promise((resolve, reject) => {
    const asked = request({
      host: "127.0.0.1",
      port,
      path,
      ca: authority.certificate,
      agent: false,
      ...options,
    });
    asked.on("response", (answer) => {
      const { serialNumber } = (
        answer.socket as unknown as { getPeerCertificate(): PeerCertificate }
      ).getPeerCertificate();
      answer.resume();
      answer.on("end", () => resolve({ status: answer.statusCode ?? 0, serial: serialNumber }));
    });
    asked.on("error", reject);
    asked.end();
  });
}

test("answers over TLS with the certificate of its file, and nothing over plain http", async () => {
  const { port, close } = await start(issue());
  expect((await get(port, "/healthz")).status).toBe(200);
  expect((await get(port, "/v1/sandboxes", { headers: { authorization: "Bearer any" } })).status).toBe(200);
  await expect(fetch(`http://127.0.0.1:${port}/healthz`)).rejects.toThrow();
  await expect(get(port, "/healthz", { ca: testAuthority().certificate })).rejects.toThrow(/certificate/);
  await close();
});

test.each([
  ["TLSv1.1", false],
  ["TLSv1.2", true],
  ["TLSv1.3", true],
] as const)("%s: %s", async (version, taken) => {
  const { port, close } = await start(issue());
  const options = { minVersion: version, maxVersion: version, ciphers: "DEFAULT@SECLEVEL=0" };
  const asked = get(port, "/healthz", options);
  if (taken) expect((await asked).status).toBe(200);
  else await expect(asked).rejects.toThrow(/protocol version/i);
  await close();
});

test("another certificate serves new connections without a restart, and open ones go on", async () => {
  const { app, port, file, close } = await start(issue());
  const before = (await get(port, "/healthz")).serial;
  const open = connect({ host: "127.0.0.1", port, ca: authority.certificate });
  await new Promise((resolve) => open.once("secureConnect", resolve));

  rmSync(file);
  writeFileSync(file, issue(), { mode: 0o400 });
  await until(async () => (await get(port, "/healthz")).serial !== before, "the new certificate");
  open.write("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
  const said = await new Promise<string>((resolve) => open.once("data", (data) => resolve(String(data))));
  expect(said).toContain("200 OK");

  // What can't be used takes nobody's place.
  const now = (await get(port, "/healthz")).serial;
  rmSync(file);
  const refused = vi.spyOn(app.log, "error");
  writeFileSync(file, "not a certificate");
  await until(
    () => /no certificate that could be used/.test(`${refused.mock.calls}`),
    "a look at it",
    20_000,
  );
  refused.mockRestore();
  expect((await get(port, "/healthz")).serial).toBe(now);
  open.destroy();
  await close();
});

test("without a certificate it waits for one, and is ready for the container's own check", async () => {
  const { readiness, port, file, close } = await start();
  await serveHealth(readiness, 0).then(async (server) => {
    const health = (server.address() as AddressInfo).port;
    expect([200, 503]).toContain((await fetch(`http://127.0.0.1:${health}/readyz`)).status);
    expect((await fetch(`http://127.0.0.1:${health}/v1/sandboxes`)).status).toBe(404);
    server.close();
  });
  await expect(get(port, "/healthz")).rejects.toThrow();
  writeFileSync(file, issue(), { mode: 0o400 });
  await until(
    () =>
      get(port, "/healthz").then(
        ({ status }) => status === 200,
        () => false,
      ),
    "the certificate",
  );
  expect(readFileSync(file, "utf8")).toContain("PRIVATE KEY");
  await close();
});

test("upgrades to a WebSocket over TLS", async () => {
  const { port, close } = await start(issue());
  const socket = new WebSocket(`wss://127.0.0.1:${port}/v1/sandboxes/nobody/agent`, {
    ca: authority.certificate,
    headers: { authorization: "Bearer any" },
  });
  const status = await new Promise((resolve) => {
    socket.on("unexpected-response", (_request, response) => resolve(response.statusCode));
    socket.on("error", () => undefined);
  });
  expect(status).toBe(404);
  await close();
});

test("B19: says in its log and its figures that the certificate ends, three weeks before", async () => {
  const file = join(temporaryFolder(), "tls.pem");
  writeFileSync(file, issue());
  const warned: unknown[] = [];
  const log = { info: () => {}, error: () => {}, warn: (what: unknown) => warned.push(what) };
  const metrics = new Metrics();
  const look = () => {
    const certificate = new ServerCertificate(file, { setSecureContext: () => {} }, log);
    certificate.close();
    return certificate;
  };
  try {
    const now = Date.now();
    metrics.watchCertificate(look().endsAt);
    expect(warned).toEqual([]);
    const figures = await metrics.registry.metrics();
    const ends = Number(/^msb_gateway_certificate_end_seconds (\d+)/m.exec(figures)?.[1]) * 1_000;
    expect(Math.abs(ends - now - 90 * 24 * 3_600_000)).toBeLessThan(3_600_000);
    vi.setSystemTime(now + 70 * 24 * 3_600_000);
    look();
    expect(warned).toEqual([{ ends: new Date(ends).toISOString() }]);
  } finally {
    vi.useRealTimers();
  }
});
