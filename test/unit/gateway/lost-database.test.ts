import { existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { listed, running, type World } from "./backend-contract/world";
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
