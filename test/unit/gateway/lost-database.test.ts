import { cpSync, existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import fc from "fast-check";
import { expect, test } from "vitest";
import type { Volume } from "../../../docker/gateway/src/sandboxes/backend";
import { listed, refused, running, type World, wanted } from "./backend-contract/world";
import { MsbWorld } from "./msb-world";

/** Takes msb's database away, as a restore of half a volume does: from then on msb lists nothing. */
function loseDatabase({ home }: MsbWorld): () => void {
  const folder = join(home, "fake", "sandboxes");
  renameSync(folder, `${folder}.away`);
  mkdirSync(folder);
  return () => {
    rmSync(folder, { recursive: true });
    renameSync(`${folder}.away`, folder);
  };
}

const msbCheck = async ({ backend }: World) => (await backend.readiness()).checks.msb;

test("a start with an msb that lists nothing removes no record and no disk", async () => {
  const world = await MsbWorld.make();
  const { id } = await running(world, "precious", { owner: "ann" });
  const disk = join(world.home, "sandboxes", id, "disk.raw");
  writeFileSync(disk, "data");
  await world.backend.drain(Date.now() + 5_000);
  await world.backend.close();
  const restore = loseDatabase(world);
  await world.restart("drained");
  expect(await listed(world, "ann")).toMatchObject([{ id, name: "precious" }]);
  expect(existsSync(disk)).toBe(true);
  expect(await msbCheck(world)).toMatchObject({
    ok: false,
    reason: expect.stringContaining("does not list 1"),
  });
  restore();
  await world.restart("drained");
  expect(existsSync(disk)).toBe(true);
  expect(await msbCheck(world)).toEqual({ ok: true });
  expect(await listed(world)).toMatchObject([{ id, name: "precious", owner: "ann" }]);
});

test("a list that lacks what is there ends nothing, and takes nothing in under another id", async () => {
  const world = await MsbWorld.make();
  const { id } = await running(world, "mine", { owner: "ann", spec: { labels: { a: "b" } } });
  const before = await listed(world);
  const restore = loseDatabase(world);
  for (let lists = 0; lists < 3; lists++) {
    await sleep(1_100);
    expect(await listed(world)).toEqual(before);
  }
  restore();
  await sleep(1_100);
  expect(await listed(world)).toEqual(before);
  expect(before).toMatchObject([{ id, owner: "ann", status: "running" }]);
});

test("one that msb does not list can be removed; one that was removed with msb itself is no more", async () => {
  const world = await MsbWorld.make();
  const [kept, gone] = [await running(world, "kept"), await running(world, "gone")];
  loseDatabase(world);
  rmSync(join(world.home, "sandboxes", gone.id), { recursive: true });
  await sleep(1_100);
  expect(await listed(world)).toMatchObject([{ id: kept.id }]);
  await world.backend.sandboxes.want(kept.id, "removed");
  await expect.poll(() => existsSync(join(world.home, "sandboxes", kept.id))).toBe(false);
  expect(await listed(world)).toEqual([]);
});

/** What msb's list and its folders come to lack, of volumes of two owners. */
type Lost = { owner: string; capacityGib: number | undefined; listed: boolean; there: boolean };
const lost: fc.Arbitrary<Lost[]> = fc.array(
  fc.record({
    owner: fc.constantFrom("ann", "bob"),
    capacityGib: fc.constantFrom(undefined, 1),
    listed: fc.boolean(),
    there: fc.boolean(),
  }),
  { minLength: 1, maxLength: 4 },
);

test("a volume keeps its record, its owner and its labels until both msb's note and its folder are gone", {
  timeout: 120_000,
}, async () => {
  const one = async (plans: Lost[], how: "drained" | "crashed") => {
    const world = await MsbWorld.make();
    const { volumes } = world.backend;
    const made: Volume[] = [];
    for (const [index, { owner, capacityGib }] of plans.entries())
      made.push(await volumes.create({ name: `v${index}`, labels: { a: `${index}` }, owner, capacityGib }));
    const notes = (home: string) => join(home, "fake", "volumes");
    const away = `${notes(world.home)}.away`;
    cpSync(notes(world.home), away, { recursive: true });
    for (const [index, { listed, there }] of plans.entries()) {
      const { id } = made[index] as Volume;
      if (!listed) rmSync(join(notes(world.home), id));
      if (!there) rmSync(join(world.home, "volumes", id), { recursive: true });
    }
    // A database of another server's has volumes of its own.
    writeFileSync(join(notes(world.home), "foreign"), "2024-01-01T00:00:00Z dir null\n");
    await world.restart(how);
    const kept = made.filter((_volume, index) => plans[index]?.listed || plans[index]?.there);
    const own = async () => (await world.backend.volumes.list({})).filter(({ name }) => name !== "foreign");
    const byId = (list: Volume[]) => list.toSorted((a, b) => (a.id < b.id ? -1 : 1));
    expect(byId(await own())).toEqual(byId(kept));
    const lacking = plans.filter(({ listed, there }) => there && !listed).length;
    expect(await msbCheck(world)).toMatchObject(
      lacking === 0
        ? { ok: true }
        : { ok: false, reason: expect.stringContaining(`does not list ${lacking}`) },
    );
    // Each can be removed, and then there is nothing of it.
    const [first] = kept;
    if (first) {
      await world.backend.volumes.remove(first.id, { owner: first.owner ?? undefined });
      await expect.poll(() => existsSync(join(world.home, "volumes", first.id))).toBe(false);
    }
    for (const { id } of kept.slice(1))
      cpSync(join(world.home, "fake", "volumes.away", id), join(notes(world.home), id));
    await world.restart(how);
    expect(byId(await own())).toEqual(byId(kept.slice(1)));
    expect(await msbCheck(world)).toEqual({ ok: true });
  };
  await fc.assert(fc.asyncProperty(lost, fc.constantFrom("drained" as const, "crashed" as const), one), {
    numRuns: 6,
    examples: [[[{ owner: "ann", capacityGib: undefined, listed: false, there: true }], "drained"]],
    endOnFailure: true,
  });
});

test("a volume that msb does not list is still in use by the sandbox that mounts it", async () => {
  const world = await MsbWorld.make();
  const { volumes } = world.backend;
  const { id } = await volumes.create({ name: "data", labels: {}, owner: "ann" });
  const mounts = [{ type: "named", name: "data", guest: "/data" }];
  await world.backend.sandboxes.create(wanted("box", { spec: { mounts } }));
  rmSync(join(world.home, "fake", "volumes", id));
  await world.restart("drained");
  expect(await world.backend.volumes.list({ owner: "ann" })).toMatchObject([{ id, name: "data" }]);
  await refused(world.backend.volumes.remove(id, { owner: "ann" }), "conflict");
});
