import { renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test, vi } from "vitest";
import { serverOf } from "../../../docker/gateway/src/sandboxes/ids";
import { CertificateAuthority } from "../../harness/certificates";
import { atFileEnd } from "../../harness/file-end";
import { freePort } from "../../harness/stack";
import { TestGateway, temporaryFolder, until } from "./harness";

const NO_CERTIFICATE = /no certificate that could be used/;

test("servers and routers know each other by their certificates, and nobody else is served", async () => {
  const authority = new CertificateAuthority();
  atFileEnd(() => authority.remove());
  const folder = temporaryFolder();
  const write = (name: string, text: string) => {
    writeFileSync(join(folder, name), text, { mode: 0o600 });
    return join(folder, name);
  };
  const PEER_CA_FILE = write("ca.pem", authority.certificate);
  const peer = (name: string, usage: string) => {
    const { cert, key } = authority.issue(name, usage);
    return { PEER_CA_FILE, PEER_TLS_FILE: write(`${name}.pem`, cert + key) };
  };
  const port = await freePort();
  const here = { LISTEN_ADDRESS: "127.0.0.1" };
  const own = { SERVER_NUMBER: "7", BACKEND_PORT: `${port}`, ...peer("server-7", "serverAuth") };
  await TestGateway.start({ ...here, ...own });
  const address = { number: 7, url: `https://127.0.0.1:${port}`, serverName: "server-7" };
  const SERVERS = JSON.stringify([address]);
  const good = await TestGateway.start({ SERVERS, ...peer("router", "clientAuth") });
  const { status, body } = await good.create("box");
  expect([status, serverOf(body.id)]).toEqual([200, 7]);
  for (const certificates of [peer("server-8", "serverAuth"), {}]) {
    const bad = await TestGateway.start({ SERVERS, ...certificates });
    expect((await bad.create("other")).status).toBe(503);
    expect((await bad.get("/readyz")).status).toBe(503);
  }
  await expect(TestGateway.start({ SERVERS, PEER_CA_FILE })).rejects.toThrow(
    /PEER_TLS_FILE and PEER_CA_FILE/,
  );
});

test("certificates of another authority are used on both sides without a restart", async () => {
  const folder = temporaryFolder();
  /** Replaces a file whole. */
  const write = (name: string, text: string) => {
    writeFileSync(join(folder, `${name}.new`), text, { mode: 0o600 });
    renameSync(join(folder, `${name}.new`), join(folder, name));
  };
  const issue = () => {
    const authority = new CertificateAuthority();
    atFileEnd(() => authority.remove());
    for (const [name, usage] of [
      ["server", "serverAuth"],
      ["router", "clientAuth"],
    ] as const) {
      const { cert, key } = authority.issue(name === "server" ? "server-7" : name, usage);
      write(`${name}.pem`, cert + key);
      write(`${name}-ca.pem`, authority.certificate);
    }
  };
  const files = (name: string) => ({
    PEER_TLS_FILE: join(folder, `${name}.pem`),
    PEER_CA_FILE: join(folder, `${name}-ca.pem`),
  });
  issue();
  const port = await freePort();
  const own = { LISTEN_ADDRESS: "127.0.0.1", SERVER_NUMBER: "7", BACKEND_PORT: `${port}` };
  let server = await TestGateway.start({ ...own, ...files("server") });
  const address = { number: 7, url: `https://127.0.0.1:${port}`, serverName: "server-7" };
  const SERVERS = JSON.stringify([address]);
  const router = await TestGateway.start({ SERVERS, ...files("router") });
  expect((await router.create("first")).status).toBe(200);
  for (let round = 0; round < 2; round++) {
    issue();
    const fresh = await TestGateway.start({ SERVERS, ...files("router") });
    await until(async () => (await fresh.get("/readyz")).status === 200, "the server to have them", 20_000);
    await server.gateway.stop();
    // Whoever uses it from here on has to show what is new.
    server = await TestGateway.start({ ...own, ...files("server") }, server.home);
    let attempt = 0;
    const created = async () => (await router.create(`box-${round}-${attempt++}`)).status === 200;
    await until(created, "the router to have them", 20_000);
    const refused = vi.spyOn(router.gateway.app.log, "error");
    write("router.pem", "this is no certificate");
    await until(
      () => refused.mock.calls.some(([, what]) => NO_CERTIFICATE.test(`${what}`)),
      "a look at it",
      20_000,
    );
    refused.mockRestore();
    expect((await router.get("/readyz")).status).toBe(200);
  }
  const ends = /^msb_gateway_peer_certificate_end_seconds (\d+)/m;
  expect(Number(ends.exec(await router.gateway.metrics.registry.metrics())?.[1]) * 1_000).toBeGreaterThan(
    Date.now(),
  );
}, 90_000);
