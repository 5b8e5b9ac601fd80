import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { allocatedBytes } from "../../../docker/gateway/src/backends/msb/allocated-bytes";
import { ImageRoom } from "../../../docker/gateway/src/backends/msb/image-room";
import { temporaryFolder } from "./harness";

test.each([
  ["there is room", 10, 0],
  ["there is room once something is removed", 40, 1],
  ["there is none", 90, 1],
])("where %s, many pulls at once ask once", async (_name, bytes, prunes) => {
  let [measured, pruned] = [0, 0];
  const room = new ImageRoom({
    maxBytes: 30,
    measure: async () => {
      measured++;
      return bytes;
    },
    prune: async () => {
      pruned++;
      return { removed: [], kept: [], bytes: bytes - 20 };
    },
  });
  for (let round = 0; round < 3; round++) {
    const made = await Promise.allSettled(Array.from({ length: 100 }, () => room.make()));
    expect(made.filter(({ status }) => status === "fulfilled")).toHaveLength(bytes > 50 ? 0 : 100);
  }
  // Once, unless a round is late.
  expect(measured).toBeLessThanOrEqual(3);
  expect(pruned).toBe(prunes * measured);
});

test("a folder takes what is in it, at any depth, but for what does not count", async () => {
  const folder = temporaryFolder();
  const [deep, locks] = [join(folder, "a", "b"), join(folder, ".leases")];
  for (const each of [deep, locks]) mkdirSync(each, { recursive: true });
  const empty = await allocatedBytes(folder);
  const block = Buffer.alloc(4096, 1);
  writeFileSync(join(deep, "layer"), block);
  for (let n = 0; n < 100; n++) writeFileSync(join(locks, `${n}.lock`), block);
  const isNoLock = (name: string) => !name.endsWith(".lock");
  const counted = (await allocatedBytes(folder, isNoLock)) - empty;
  expect(counted).toBeGreaterThanOrEqual(4096);
  expect(counted).toBeLessThan(50 * 4096);
  expect((await allocatedBytes(folder)) - empty).toBeGreaterThanOrEqual(101 * 4096);
  expect(await allocatedBytes(join(deep, "layer"))).toBeGreaterThanOrEqual(4096);
  expect(await allocatedBytes(join(folder, "gone"))).toBe(0);
});
