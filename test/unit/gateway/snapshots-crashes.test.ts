import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import type { Snapshot } from "../../../docker/gateway/src/sandboxes/snapshots";
import { running, settled, wanted, within } from "./backend-contract/world";
import { TestGateway, until } from "./harness";
import { MsbWorld } from "./msb-world";

const inFolder = (...path: string[]) => (existsSync(join(...path)) ? readdirSync(join(...path)) : []);

/** Ids of the snapshots of which something is on the disk: msb's folders, and its notes. */
const folders = (home: string) => inFolder(home, "snapshots").map((name) => name.slice(2));
const notes = (home: string) => inFolder(home, "fake", "snapshots").map((name) => name.slice(2));
const records = (home: string) => inFolder(home, "gateway", "snapshots");

/** Sweeps until the disk holds what is listed, and nothing besides. */
async function clean(world: MsbWorld): Promise<void> {
  const ids = async () =>
    (await world.backend.snapshots.list({ limit: 500 })).items.map(({ id }) => id).sort();
  const isClean = async () => {
    await world.backend.sweep();
    const listed = JSON.stringify(await ids());
    return [folders, notes].every((found) => JSON.stringify(found(world.home).sort()) === listed);
  };
  await until(isClean, "only what is listed to be on the disk", 20_000).catch(async (error) => {
    const left = { listed: await ids(), folders: folders(world.home), notes: notes(world.home) };
    throw new Error(`${error.message}: ${JSON.stringify({ ...left, records: records(world.home) })}`);
  });
}

/** Numbers that look like chance and are the same at each run. */
function* chance(seed: number): Generator<number> {
  for (let state = seed; ; ) {
    state = (state * 1_103_515_245 + 12_345) % 2 ** 31;
    yield state / 2 ** 31;
  }
}

describe("the server is killed", () => {
  test("at any moment: what was answered is there, nothing else of it is on the disk", {
    timeout: 240_000,
  }, async () => {
    const world = await MsbWorld.make();
    const box = await running(world, "box");
    const random = chance(20_261_126);
    const next = () => random.next().value as number;
    /** Answered as made, by name; undefined for one that was answered as removed. */
    const answered = new Map<string, Snapshot | undefined>();
    const unsure = new Set<string>();
    let times = 0;

    for (let round = 0; round < 25; round++) {
      const { snapshots, sandboxes } = world.backend;
      let alive = true;
      const work = async (name: string) => {
        while (alive) {
          unsure.add(name);
          const found = await snapshots.find({ name }, {});
          const what = next();
          if (found && what < 0.3) {
            await snapshots.remove(found.id, {});
            if (alive) answered.set(name, undefined);
          } else if (found && what < 0.5) {
            await sandboxes.create(wanted(`r${round}-${name}`, { desired: "running", snapshot: found.id }));
            await sleep(20);
          } else {
            const { id } = await snapshots.create({
              ...{ name, labels: { round: String(round) }, owner: "ann", sandboxId: box.id, force: true },
            });
            const { result } = await snapshots.until(id, within(20_000));
            if (alive && result) answered.set(name, result);
          }
          if (alive) times += unsure.delete(name) ? 1 : 0;
        }
      };
      const lanes = ["a", "b", "c"].map((name) => work(name).catch(() => undefined));
      // Every other time something has been answered since the last.
      const before = times;
      if (round % 2 === 0) await until(() => times > before, "an answer", 30_000);
      await sleep(next() * 400);
      alive = false;
      await world.restart("crashed");
      await Promise.all(lanes);

      const after = world.backend.snapshots;
      for (const [name, snapshot] of answered) {
        const found = await after.find({ name }, {});
        if (!unsure.has(name)) expect([round, name, found]).toEqual([round, name, snapshot]);
        // What was under way may have come to its end, or not; never to half of it.
        else if (found) expect(found.digest).toMatch(/^sha256:[0-9a-f]{64}$/);
        answered.set(name, found);
      }
      unsure.clear();
      for (const { id, name } of (await world.backend.sandboxes.list({ labels: {}, limit: 500 })).items)
        if (name !== "box") await world.backend.sandboxes.want(id, "removed");
      await clean(world);
      expect((await settled(world, box.id)).status).toBe("running");
    }
  });

  test("and what its msb still makes of a capture goes, too", async () => {
    const world = await MsbWorld.make();
    const box = await running(world, "box");
    await world.captures("hang");
    const { id } = await world.backend.snapshots.create({
      ...{ name: "cut", labels: {}, owner: "ann", sandboxId: box.id, force: false },
    });
    await world.backend.snapshots.until(id, within(500));
    expect(folders(world.home)).toEqual([id]);
    await world.restart("crashed");
    await clean(world);
    expect(folders(world.home)).toEqual([]);
    // A process that the server has left behind comes to its end only now. A sweep in between finds nothing to remove.
    mkdirSync(join(world.home, "fake", "snapshots"), { recursive: true });
    writeFileSync(join(world.home, "fake", "snapshots", `s-${id}`), `snap_${"0".repeat(32)} starter 0\n`);
    mkdirSync(join(world.home, "snapshots", `s-${id}`, `snap_${"0".repeat(32)}`), { recursive: true });
    await clean(world);
  });

  test("between the new one of a name and the end of the old one", async () => {
    const world = await MsbWorld.make();
    const box = await running(world, "box");
    const take = async (force: boolean) => {
      const want = { name: "same", labels: {}, owner: "ann", sandboxId: box.id, force };
      const { id } = await world.backend.snapshots.create(want);
      return (await world.backend.snapshots.until(id, within(20_000))).result as Snapshot;
    };
    const old = await take(false);
    const file = join(world.home, "gateway", "snapshots", `${old.id}.json`);
    const before = readFileSync(file, "utf8");
    const now = await take(true);
    await clean(world);
    await until(() => records(world.home).length === 1, "the old record to go");
    writeFileSync(file, before);
    await world.restart("drained");
    expect((await world.backend.snapshots.list({ limit: 500 })).items).toEqual([now]);
    await clean(world);
    await until(() => records(world.home).length === 1, "the old record to go");
  });
});

describe("a record that is not as it should be", () => {
  const post = (gateway: TestGateway, sandbox_id: string, name: string) =>
    gateway.post("/v1/snapshots", { sandbox_id, name, labels: { of: name } });

  test.each<[string, (text: string) => string]>([
    ["half written", (text) => text.slice(0, text.length / 2)],
    ["with a label that its digest does not know", (text) => text.replaceAll('"of":', '"or":')],
    ["with another digest", (text) => text.replace(/"digest":"sha256:./, '"digest":"sha256:x')],
    ["with a field that no client reads", (text) => text.replace('"scope":', '"more":1,"scope":')],
    ["without a manifest", (text) => text.replace(/"made":\{.*\},"failure"/, '"made":null,"failure"')],
  ])("%s breaks no list, and is kept for whoever mends it", async (_what, spoil) => {
    const first = await TestGateway.start();
    const { id } = (await first.create("box")).body;
    for (const name of ["good", "bad", "fine"]) await post(first, id, name);
    const bad = (await first.get("/v1/snapshots/by-name/bad")).body.location.id;
    await first.close();
    const file = join(first.home, "gateway", "snapshots", `${bad}.json`);
    const [text, spoiled] = [readFileSync(file, "utf8"), spoil(readFileSync(file, "utf8"))];
    expect(spoiled).not.toBe(text);
    writeFileSync(file, spoiled);

    const second = await TestGateway.start({}, first.home);
    await second.gateway.backend.sweep();
    const { status, body } = await second.get("/v1/snapshots");
    expect([status, body.data.map(({ name }: Snapshot) => name)]).toEqual([200, ["good", "fine"]]);
    expect((await second.get(`/v1/snapshots/${bad}`)).status).toBe(404);
    expect(readFileSync(`${file}.unreadable`, "utf8")).toBe(spoiled);
    expect(folders(first.home)).toContain(bad);
    expect((await post(second, id, "bad")).status).toBe(202);
    await second.close();

    // Mended, it is as it was.
    rmSync(join(first.home, "gateway", "snapshots"), { recursive: true });
    mkdirSync(join(first.home, "gateway", "snapshots"));
    writeFileSync(file, text);
    const third = await TestGateway.start({}, first.home);
    expect((await third.get("/v1/snapshots/by-name/bad")).body.location.id).toBe(bad);
  });

  test("one whose files are gone while msb knows of it can be removed, from msb as well", async () => {
    const gateway = await TestGateway.start();
    const { id } = (await gateway.create("box")).body;
    await post(gateway, id, "lost");
    rmSync(join(gateway.home, "snapshots"), { recursive: true });
    expect(notes(gateway.home)).toHaveLength(1);
    expect((await gateway.delete("/v1/snapshots/by-name/lost")).status).toBe(200);
    await until(() => records(gateway.home).length === 0, "its record to go");
    expect(notes(gateway.home)).toEqual([]);
  });

  test("one whose files were removed with msb itself can be removed, and nothing starts from it", async () => {
    const gateway = await TestGateway.start();
    const { id } = (await gateway.create("box")).body;
    await post(gateway, id, "gone");
    for (const path of [join("snapshots"), join("fake", "snapshots")])
      rmSync(join(gateway.home, path), { recursive: true });
    const { status, body } = await gateway.post("/v1/sandboxes?start=true&wait_for=running", {
      ...{ name: "again", source: "disk_snapshot", disk_snapshot_ref: { type: "managed", id: "gone" } },
    });
    expect([status, body.error.code]).toEqual([404, "snapshot_not_found"]);
    expect((await gateway.get("/v1/sandboxes/by-name/again")).status).toBe(404);
    expect((await gateway.delete("/v1/snapshots/by-name/gone")).status).toBe(200);
    await until(() => records(gateway.home).length === 0, "its record to go");
  });
});
