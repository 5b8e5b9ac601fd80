import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import fc from "fast-check";
import { expect, test } from "vitest";
import { removeMergeLeftovers } from "../../../docker/gateway/src/backends/msb/merge-leftovers";
import { running, settled } from "./backend-contract/world";
import { temporaryFolder, until } from "./harness";
import { MsbWorld } from "./msb-world";

const pathsOf = (folder: string): string[] =>
  JSON.parse(readFileSync(join(folder, "root-disk.json"), "utf8")).layers.map(
    ({ path }: { path: string }) => path,
  );
/** What a guest would find on the disk. */
const diskOf = (folder: string) =>
  pathsOf(folder)
    .map((path) => readFileSync(join(folder, path), "utf8"))
    .join("");
/** The folders of merges that the disk is not made of. */
const leftIn = (folder: string) =>
  readdirSync(folder).filter((name) => /^\.compact-\d+$/.test(name) && !pathsOf(folder)[0]?.startsWith(name));

test("a merge of a disk's layers that is cut off at any moment leaves the disk whole, and is done by the next process", {
  timeout: 120_000,
}, async () => {
  const world = await MsbWorld.make();
  const { id } = await running(world, "box");
  await world.backend.sandboxes.want(id, "stopped");
  await settled(world, id);
  const runtime = () => join(world.home, "sandboxes", id, "runtime");
  const record = () => join(world.home, "gateway", "sandboxes", `${id}.json`);
  const log = () => join(world.home, "fake", "merges.log");
  const merges = () => (existsSync(log()) ? readFileSync(log(), "utf8").trim().split("\n") : []);
  mkdirSync(runtime());
  writeFileSync(join(world.home, "fake", "slow-merges"), "");

  let cutOff = 0;
  await fc.assert(
    fc.asyncProperty(fc.integer({ max: 350, min: 0 }), fc.boolean(), async (afterMs, stops) => {
      // As after many captures.
      const layers = Array.from({ length: 4 }, (_, at) => ({ path: `layer-${at}` }));
      for (const { path } of layers) writeFileSync(join(runtime(), path), `${path} ${afterMs}\n`);
      const list = layers.map((layer) => JSON.stringify(layer)).join(",\n");
      writeFileSync(join(runtime(), "root-disk.json"), `{"layers":[\n${list}\n]}\n`);
      const whole = diskOf(runtime());
      const before = JSON.parse(readFileSync(record(), "utf8"));
      writeFileSync(record(), JSON.stringify({ ...before, layers: 40 }));
      await world.restart("crashed");

      const known = merges().length;
      void world.backend.sweep();
      await until(() => merges().length > known, "the merge");
      await sleep(afterMs);
      // The stop waits no longer than its deadline, and then all processes end.
      if (stops) await world.backend.drain(Date.now());
      kill(Number(merges().at(-1)));
      await world.restart("crashed");
      expect(diskOf(runtime())).toBe(whole);
      if (pathsOf(runtime()).length > 1) cutOff += leftIn(runtime()).length;

      await world.backend.sweep();
      expect(JSON.parse(readFileSync(record(), "utf8")).layers).toBe(0);
      expect(diskOf(runtime())).toBe(whole);
      expect([pathsOf(runtime()).length, leftIn(runtime())]).toEqual([1, []]);
    }),
    { numRuns: 12 },
  );
  expect(cutOff).toBeGreaterThan(0);
});

/** Ends a process that may have ended, as a power cut does. */
function kill(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}

test.each([
  ["is not there", undefined],
  ["is cut off", '{"layers":[{"path":"/x/.compact-a/d'],
  ["names nothing", '{"layers":[]}'],
])("nothing is removed where msb's list of a disk's files %s", async (_how, text) => {
  const home = temporaryFolder();
  const folder = join(home, "sandboxes", "box", "runtime");
  mkdirSync(join(folder, ".compact-b"), { recursive: true });
  if (text !== undefined) writeFileSync(join(folder, "root-disk.json"), text);
  await expect(removeMergeLeftovers(home, "box")).rejects.toThrow();
  expect(readdirSync(folder)).toContain(".compact-b");
});
