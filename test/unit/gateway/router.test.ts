import { createHash, randomBytes } from "node:crypto";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import WebSocket from "ws";
import { serverOf } from "../../../docker/gateway/src/sandboxes/ids";
import { writeKeyFile } from "../../harness/key-file";
import { freePort } from "../../harness/stack";
import { type Answer, fakeAgent, newBody, START, TestGateway, temporaryFolder, until } from "./harness";
import { bearer } from "./with-keys";

const COUNT = 3;
let servers: TestGateway[];
let router: TestGateway;
/** The router's keys. */
const keyFile = join(temporaryFolder(), "keys");

beforeAll(async () => {
  const ports = await Promise.all(Array.from({ length: COUNT }, freePort));
  servers = await Promise.all(
    ports.map((port, number) =>
      TestGateway.start({ SERVER_NUMBER: `${number}`, BACKEND_PORT: `${port}`, OWN_SANDBOXES: "true" }),
    ),
  );
  writeKeyFile(keyFile, [
    { id: "ann", key: "ann" },
    { id: "bob", key: "bob" },
    { id: "few", key: "few", limits: { totalSandboxes: 5, volumes: 2, snapshots: 2 } },
  ]);
  const addresses = ports.map((port, number) => ({ number, url: `http://127.0.0.1:${port}` }));
  router = await TestGateway.start({
    ...{ SERVERS: JSON.stringify(addresses), DEV_MODE: "false", API_KEYS_FILE: keyFile },
    OWN_SANDBOXES: "true",
  });
});

const ask = (key: string, method: string, path: string, body?: unknown): Promise<Answer> =>
  router.request(method, path, { body, headers: bearer(key) });
const create = (key: string, name: string, change = {}, query = START) =>
  ask(key, "POST", `/v1/sandboxes?${query}`, newBody(name, change));
const names = async (key: string) =>
  (await ask(key, "GET", "/v1/sandboxes?limit=100")).body.data.map(({ name }: { name: string }) => name);

describe("a router", () => {
  test("makes sandboxes on its servers, and answers for all of them as one server does", async () => {
    const made = [];
    for (let at = 0; at < 9; at++) made.push(await create("ann", `box-${at}`));
    expect(made.map(({ status }) => status)).toEqual(made.map(() => 200));
    expect(new Set(made.map(({ body }) => serverOf(body.id))).size).toBe(COUNT);
    expect(await names("ann")).toEqual(made.map(({ body }) => body.name));
    expect(await names("bob")).toEqual([]);
    for (const { body } of made) {
      for (const path of [`/v1/sandboxes/${body.id}`, `/v1/sandboxes/by-name/${body.name}`]) {
        expect((await ask("ann", "GET", path)).body).toMatchObject({ id: body.id, status: "running" });
        expect((await ask("bob", "GET", path)).status).toBe(404);
      }
      expect((await ask("ann", "POST", `/v1/sandboxes/${body.id}/stop`, {})).body.status).toBe("stopped");
    }
    expect((await ask("ann", "GET", "/v1/quotas")).body).toMatchObject({ total_sandboxes: 9 });
    expect((await create("ann", "box-3")).status).toBe(409);
    for (const { body } of made)
      expect((await ask("ann", "DELETE", `/v1/sandboxes/${body.id}`)).status).toBe(200);
    expect(await names("ann")).toEqual([]);
    expect((await create("ann", "box-3", {}, "start=false")).status).toBe(200);
  });

  test("carries terminals and files through, whole", async () => {
    const { id } = (await create("ann", "pipe")).body;
    const server = servers[serverOf(id) ?? -1];
    await fakeAgent(server?.home ?? "", "pipe", (socket) => socket.pipe(socket));
    const client = new WebSocket(`${router.url.replace("http", "ws")}/v1/sandboxes/${id}/agent`, {
      headers: bearer("ann"),
      perMessageDeflate: false,
    });
    const data = randomBytes(3_000_000);
    const hash = createHash("sha256");
    let received = 0;
    client.on("message", (chunk: Buffer) => {
      hash.update(chunk);
      received += chunk.length;
    });
    await new Promise((resolve, reject) => client.once("open", resolve).once("error", reject));
    for (let at = 0; at < data.length; at += 100_000) client.send(data.subarray(at, at + 100_000));
    await until(() => received === data.length, "all to come back", 20_000);
    expect(hash.digest("hex")).toBe(createHash("sha256").update(data).digest("hex"));
    client.close();

    const volume = (await ask("ann", "POST", "/v1/volumes", { name: "data" })).body.id;
    const file = `${router.url}/v1/volumes/${volume}/files/content`;
    const headers = (key: string) => ({
      ...bearer(key),
      "x-msb-file-path": Buffer.from("/a/file").toString("base64url"),
    });
    const put = await fetch(file, { method: "PUT", headers: headers("ann"), body: data });
    expect(put.status).toBe(200);
    const got = Buffer.from(await (await fetch(file, { headers: headers("ann") })).arrayBuffer());
    expect(got.equals(data)).toBe(true);
    expect((await fetch(file, { headers: headers("bob") })).status).toBe(404);
  });

  test("holds what a key may have over all servers, however many ask at once", async () => {
    const outcomes = await Promise.all(
      Array.from({ length: 20 }, (_, at) => create("few", `box-${at}`, {}, "start=false")),
    );
    const count = (status: number) => outcomes.filter((each) => each.status === status).length;
    expect([count(200), count(429)]).toEqual([5, 15]);
    const volumes = await Promise.all(
      Array.from({ length: 8 }, (_, at) => ask("few", "POST", "/v1/volumes", { name: `v${at}` })),
    );
    expect(volumes.filter(({ status }) => status === 200)).toHaveLength(2);
    expect((await ask("few", "GET", "/v1/quotas")).body).toMatchObject({
      total_sandboxes: 5,
      total_volumes: 2,
    });
  });
});

test("a server that ends takes nothing else with it", async () => {
  const made = [];
  for (let at = 0; at < 6; at++) made.push((await create("bob", `box-${at}`)).body);
  const before = await names("bob");
  await servers[COUNT - 1]?.gateway.stop();
  expect(await names("bob")).toEqual(before);
  for (const { id } of made) {
    const isGone = serverOf(id) === COUNT - 1;
    const { status, body } = await ask("bob", "GET", `/v1/sandboxes/${id}`);
    expect([status, body.error?.message ?? ""]).toEqual(
      isGone ? [503, expect.stringContaining(`server ${COUNT - 1}`)] : [200, ""],
    );
  }
  for (let at = 0; at < 6; at++) {
    const { status, body } = await create("bob", `more-${at}`);
    expect([status, serverOf(body.id) === COUNT - 1]).toEqual([200, false]);
  }
  const ready = await fetch(`${router.url}/readyz`);
  expect([ready.status, await ready.json()]).toEqual([200, { ready: true }]);
});
