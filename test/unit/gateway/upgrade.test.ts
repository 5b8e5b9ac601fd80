import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import WebSocket from "ws";
import { atFileEnd } from "../../harness/file-end";
import { bundleGateway, createBody, GatewayProcess, newHome } from "../../harness/gateway";
import { writeKeyFile } from "../../harness/key-file";
import { fakeAgent, temporaryFolder, until } from "./harness";
import states from "./states/659e3d2.json";

/** What a gateway had told of what is one key's, and the parts of it that no upgrade may change. */
type Told = (typeof states.killed.told)["ann"];
const kept = ({ sandboxes }: Pick<Told, "sandboxes">, names: string[]) =>
  sandboxes
    .filter(({ name }) => names.includes(name))
    .map(({ id, name, slug, created_at, ephemeral, spec }) => ({
      ...{ id, name, slug, created_at, ephemeral },
      ...{ labels: spec.labels, reference: spec.reference, env: spec.env, mounts: spec.mounts },
    }));
const keys = ["ann", "bob"].map((id) => ({ id, key: `key-of-${id}` }));
const folder = temporaryFolder();
const script = join(folder, "server.cjs");
const file = (path: string) => ({ "x-msb-file-path": Buffer.from(path).toString("base64url") });

beforeAll(async () => {
  writeKeyFile(join(folder, "keys"), keys);
  await bundleGateway(script);
});

/** The present gateway over what an older one left. */
async function takenOver(files: Record<string, string>) {
  const home = newHome();
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(home, path)), { recursive: true });
    writeFileSync(join(home, path), text);
  }
  const env = { DEV_MODE: "false", OWN_SANDBOXES: "true", API_KEYS_FILE: join(folder, "keys") };
  const gateway = await GatewayProcess.start({ script, home, env });
  atFileEnd(() => gateway.remove());
  const ask = (owner: string, method: string, path: string, body?: unknown, headers = {}) =>
    gateway.request(method, path, body, { authorization: `Bearer key-of-${owner}`, ...headers });
  const seen = async (owner: string): Promise<Told> => ({
    sandboxes: (await ask(owner, "GET", "/v1/sandboxes?limit=500")).body.data,
    volumes: (await ask(owner, "GET", "/v1/volumes")).body,
  });
  const status = async (name: string, owner = "ann") =>
    (await ask(owner, "GET", `/v1/sandboxes/by-name/${name}`)).body.status;
  const inMsb = (name: string) => {
    try {
      return readFileSync(join(home, "fake/sandboxes", `${name}.status`), "utf8").trim();
    } catch {
      return undefined;
    }
  };
  return { gateway, home, ask, seen, status, inMsb };
}
type TakenOver = Awaited<ReturnType<typeof takenOver>>;

describe.each([
  ["killed in the middle of things", states.killed, "Running"],
  ["stopped", states.stopped, "Stopped"],
] as const)("what the version before left when it was %s", (_how, { told, files }, before) => {
  let now: TakenOver;
  beforeAll(async () => {
    now = await takenOver(files as unknown as Record<string, string>);
  });
  const idOf = (name: string) =>
    [...told.ann.sandboxes, ...told.bob.sandboxes].find((each) => each.name === name)?.id ?? "";

  test("sandboxes keep ids, names, labels and owners", async () => {
    const lasting = ["running", "running-too", "timed", "stopped", "failed", "lost", "pending"];
    for (const owner of ["ann", "bob"] as const)
      expect(kept(await now.seen(owner), lasting)).toEqual(kept(told[owner], lasting));
    expect((await now.seen("bob")).sandboxes.map(({ name }) => name)).toEqual(["running-too"]);
  });

  test("volumes keep ids, names, labels, owners and files", async () => {
    const byName = (volumes: Told["volumes"]) =>
      volumes
        .map(({ id, name, labels, created_at, capacity_bytes }) => ({
          id,
          name,
          labels,
          created_at,
          capacity_bytes,
        }))
        .sort((one, other) => one.name.localeCompare(other.name));
    for (const owner of ["ann", "bob"] as const)
      expect(byName((await now.seen(owner)).volumes)).toEqual(byName(told[owner].volumes));
    const id = told.ann.volumes.find(({ name }) => name === "data")?.id;
    const content = await now.ask("ann", "GET", `/v1/volumes/${id}/files/content`, undefined, file("/file"));
    expect(content).toEqual({ status: 200, body: "written before" });
    expect(
      (await now.ask("bob", "GET", `/v1/volumes/${id}/files/content`, undefined, file("/file"))).status,
    ).toBe(404);
  });

  test("what ran runs, once more where the server was stopped; what did not run is as it was", async () => {
    for (const [name, owner] of [
      ["running", "ann"],
      ["running-too", "bob"],
    ] as const)
      await until(async () => (await now.status(name, owner)) === "running", `${name} runs`, 15_000);
    expect([now.inMsb("running"), now.inMsb("running-too")]).toEqual(["Running", "Running"]);
    expect(await now.status("stopped")).toBe("stopped");
    expect(await now.status("pending")).toBe("created");
    expect(await now.status("lost")).toBe("failed");
    expect(now.inMsb("stopped")).toBe("Stopped");
  });

  test("what was over, or on its way out, goes", async () => {
    await until(() => now.inMsb("timed") === "Stopped", "the one whose time is over stops", 15_000);
    for (const name of ["half", "cut"])
      await until(() => now.inMsb(name) === undefined, `${name} is removed`, 15_000);
    for (const name of ["half", "over"])
      await until(
        async () => (await now.ask("ann", "GET", `/v1/sandboxes/by-name/${name}`)).status === 404,
        name,
      );
    if (before === "Stopped")
      await until(() => now.inMsb("ephemeral") === undefined, "no ephemeral one", 15_000);
    else expect(await now.status("ephemeral")).toBe("running");
  });

  test("its agent is reached", async () => {
    await fakeAgent(now.home, "running", (socket) => socket.pipe(socket));
    const client = new WebSocket(
      `${now.gateway.url.replace("http", "ws")}/v1/sandboxes/${idOf("running")}/agent`,
      {
        headers: { authorization: "Bearer key-of-ann" },
      },
    );
    const echo = new Promise((resolve, reject) => {
      client.once("open", () => client.send(Buffer.from("hello"))).once("error", reject);
      client.once("message", (data) => resolve(String(data)));
    });
    expect(await echo).toBe("hello");
    client.close();
  });

  test("a volume that is mounted since before is still in use", async () => {
    const id = told.ann.volumes.find(({ name }) => name === "data")?.id;
    expect((await now.ask("ann", "DELETE", `/v1/volumes/${id}`)).status).toBe(409);
    const notes = told.bob.volumes[0]?.id;
    expect((await now.ask("bob", "DELETE", `/v1/volumes/${notes}`)).status).toBe(200);
  });

  test("stop, start and delete work, under the names that msb has", async () => {
    const post = async (name: string, what: string) =>
      (
        await now.ask(
          "ann",
          "POST",
          `/v1/sandboxes/${idOf(name)}/${what}?wait_for=running`.replace(/(stop)\?.*/, "$1"),
        )
      ).body.status;
    expect(await post("running", "stop")).toBe("stopped");
    expect(now.inMsb("running")).toBe("Stopped");
    const logs = await now.ask("ann", "GET", `/v1/sandboxes/${idOf("running")}/logs?sources=system`);
    expect([logs.status, JSON.stringify(logs.body)]).toEqual([
      200,
      expect.stringContaining("sandbox stopped"),
    ]);
    expect(await post("running", "start")).toBe("running");
    expect(now.inMsb("running")).toBe("Running");
    expect(await post("stopped", "start")).toBe("running");
    expect(now.inMsb("stopped")).toBe("Running");
    expect(await post("pending", "start")).toBe("running");
    for (const name of ["running", "failed", "lost"]) {
      expect((await now.ask("ann", "DELETE", `/v1/sandboxes/by-name/${name}`)).status).toBe(200);
      await until(() => now.inMsb(name) === undefined, `${name} is removed`);
      expect((await now.ask("ann", "GET", `/v1/sandboxes/${idOf(name)}`)).status).toBe(404);
    }
  });

  test("what msb made by itself stays, and names are free for new ones", async () => {
    if (before === "Running") expect(now.inMsb("stray")).toBe("Running");
    else expect(now.inMsb("stray")).toMatch(/Running|Stopped/);
    const { status, body } = await now.ask(
      "ann",
      "POST",
      "/v1/sandboxes?start=true&wait_for=running&wait_timeout=90",
      createBody("running"),
    );
    expect([status, body.status]).toEqual([200, "running"]);
    expect(body.id).not.toBe(idOf("running"));
  });
});
