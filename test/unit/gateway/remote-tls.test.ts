import { connect as connectPlain } from "node:net";
import { connect } from "node:tls";
import { expect, test } from "vitest";
import { RemoteBackend } from "../../../docker/gateway/src/backends/remote/client";
import { serveBackend } from "../../../docker/gateway/src/backends/remote/serve";
import { ConfigError } from "../../../docker/gateway/src/errors";
import { CertificateAuthority, type Issued } from "../../harness/certificates";
import { atFileEnd } from "../../harness/file-end";
import { refused, running, type World, within } from "./backend-contract/world";
import { until } from "./harness";
import { MsbWorld } from "./msb-world";

const [authority, other] = [new CertificateAuthority(), new CertificateAuthority()];
atFileEnd(() => [authority, other].map((each) => each.remove()));
const log = { error: () => undefined };
const of = (issued: Issued, ca = authority) => ({ ...issued, ca: ca.certificate });
const SERVER = "server-2.internal";
const router = () => authority.issue("router", "clientAuth");

async function serve(own = authority.issue(SERVER, "serverAuth"), connections?: number) {
  const world = await MsbWorld.make();
  const server = await serveBackend(world.backend, { tls: of(own), log, connections });
  atFileEnd(() => server.close());
  const client = (issued: Issued, ca = authority, serverName = SERVER) => {
    const options = { name: "server 2", url: `https://127.0.0.1:${server.port}` };
    const backend = new RemoteBackend({ ...options, tls: { ...of(issued, ca), serverName } });
    atFileEnd(() => backend.close());
    return backend;
  };
  return { world, server, client };
}

/** The same world, used through that backend. */
const over = (world: World, backend: RemoteBackend): World =>
  Object.create(world, { backend: { value: backend } });

test("a router with a client's certificate of the authority is served, calls, files and agents alike", async () => {
  const { world, client } = await serve();
  const backend = client(router());
  const { id } = await running(over(world, backend), "box");
  const agent = await backend.sandboxes.openAgent(id, within(20_000));
  const got: Buffer[] = [];
  agent.on("data", (data) => got.push(data));
  // Its end goes through, and what comes back comes after it.
  agent.end(Buffer.alloc(300_000, 7));
  await new Promise((resolve) => agent.once("end", resolve));
  expect(Buffer.concat(got).equals(Buffer.alloc(300_000, 7))).toBe(true);
  agent.destroy();
  const { id: volume } = await backend.volumes.create({ name: "data", labels: {}, owner: "ann" });
  const files = await backend.volumes.files(volume, {}, { owner: "ann" });
  await files.write(Buffer.from("/f"), [Buffer.alloc(200_000, 1)] as unknown as AsyncIterable<Uint8Array>);
  const { size, content } = await files.read(Buffer.from("/f"));
  expect([size, Buffer.concat(await content.toArray()).length]).toEqual([200_000, 200_000]);
});

const WRONG: [string, () => Issued][] = [
  ["of another authority", () => other.issue("router", "clientAuth")],
  ["for servers only", () => authority.issue("router", "serverAuth")],
  ["that names no usage", () => authority.issue("router")],
];
test.each(WRONG)("one with a certificate %s is refused before anything is done", async (_, issue) => {
  const { world, client } = await serve();
  const { sandboxes } = client(issue());
  const wanted = { name: "a", labels: {}, owner: null };
  await refused(client(issue()).volumes.create(wanted), "unavailable");
  await refused(sandboxes.openAgent("00000000-0000-4000-8000-000000000001", within(5_000)), "unavailable");
  await refused(
    sandboxes.until("x", () => true, within(5_000)),
    "unavailable",
  );
  expect(await world.backend.volumes.list({})).toEqual([]);
});

test("whoever has no certificate, or an older TLS, gets no answer", async () => {
  const { server } = await serve();
  const answered = (options: object) =>
    new Promise<string>((resolve) => {
      const socket = connect({ port: server.port, rejectUnauthorized: false, ...options });
      let text = "";
      socket.on("data", (data) => {
        text += data;
        socket.destroy();
      });
      socket.on("error", () => undefined).on("close", () => resolve(text));
      socket.write("POST /backend/call/version HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n[]");
    });
  expect(await answered({})).toBe("");
  expect(await answered({ ...router(), maxVersion: "TLSv1.2" })).toBe("");
  expect(await answered(router())).toContain("200 OK");
});

test("connections that show no certificate leave a router its own", async () => {
  const { server, client } = await serve(undefined, 32);
  const backend = client(router());
  await backend.version();
  const silent = Array.from({ length: 200 }, () => connectPlain(server.port, "127.0.0.1"));
  for (const socket of silent) {
    socket.on("error", () => undefined).resume();
    atFileEnd(() => socket.destroy());
  }
  await until(() => silent.filter(({ closed }) => !closed).length <= 32 / 8, "most of them to be closed");
  // Those that are kept, and new ones.
  await Promise.all(Array.from({ length: 16 }, () => backend.version()));
});

test("a server of another name, or of another authority, is not asked", async () => {
  const { client } = await serve();
  for (const backend of [client(router(), other), client(router(), authority, "server-3.internal")]) {
    const error = await refused(backend.version(), "unavailable");
    expect(error.message).toContain("server 2");
  }
});

test("new certificates serve new connections, and open ones go on", async () => {
  const { world, server, client } = await serve();
  const before = client(router());
  const { id } = await running(over(world, before), "box");
  const agent = await before.sandboxes.openAgent(id, within(20_000));
  server.renew(of(other.issue(SERVER, "serverAuth"), other));
  expect(await client(other.issue("router", "clientAuth"), other).version()).toMatch(/^\d/);
  await refused(client(router()).version(), "unavailable");
  // A client that is given the new ones goes on, too: with calls, and with what it has open.
  before.renew(of(other.issue("router", "clientAuth"), other));
  expect(await before.version()).toMatch(/^\d/);
  (await before.sandboxes.openAgent(id, within(20_000))).destroy();
  agent.write("still here");
  expect(String(await new Promise((resolve) => agent.once("data", resolve)))).toBe("still here");
  agent.destroy();
});

test("without certificates a backend is served on loopback addresses alone", async () => {
  const { backend } = await MsbWorld.make();
  await expect(serveBackend(backend, { host: "0.0.0.0", log })).rejects.toBeInstanceOf(ConfigError);
});
