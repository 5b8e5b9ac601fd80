import { existsSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { RecordStore } from "../../../docker/gateway/src/backends/msb/record-store";
import { volumeRecord } from "../../../docker/gateway/src/backends/msb/volume-record";
import { removeHalfWritten, writeFileAtomically } from "../../../docker/gateway/src/files/atomic-file";
import { temporaryFolder } from "./harness";
import { MsbWorld } from "./msb-world";

/** More than Linux gives a process. */
const NOBODY = 2 ** 23;

test("what a crash left of a file goes, and what somebody may still write stays", async () => {
  const writer = fc.constantFrom(process.pid, process.ppid, NOBODY, undefined);
  const file = fc.record({ writer, isOld: fc.boolean(), isOther: fc.boolean() });
  await fc.assert(
    fc.asyncProperty(fc.array(file, { maxLength: 6 }), async (files) => {
      const folder = temporaryFolder();
      const paths = files.map(({ writer, isOld, isOther }, at) => {
        const path = join(folder, `f${at}.${writer ? `${writer}-` : ""}0a1b2c${isOther ? "" : ".tmp"}`);
        writeFileSync(path, "{");
        if (isOld) utimesSync(path, 0, 0);
        return path;
      });
      const writes = ["a", "b", "c"].map((name) => writeFileAtomically(join(folder, name), name));
      await removeHalfWritten(folder);
      await Promise.all(writes);
      for (const name of ["a", "b", "c"]) expect(existsSync(join(folder, name))).toBe(true);
      for (const [at, { writer, isOld, isOther }] of files.entries()) {
        const stays = isOther || (!isOld && (writer === process.ppid || writer === undefined));
        expect([at, existsSync(paths[at] ?? "")]).toEqual([at, stays]);
      }
    }),
    { numRuns: 40 },
  );
});

test("a volume that a crash left half made counts no more once it is removed, though it is looked for a while", async () => {
  const world = await MsbWorld.make();
  const folder = join(world.home, "gateway", "volumes");
  const store = await RecordStore.open(folder, volumeRecord, { error: () => undefined });
  const id = "0a0b0c0d-0000-4000-8000-000000000001";
  const half = { id, handle: id, name: "data", labels: {}, owner: "ann", state: "making" as const };
  await store.put({ ...half, createdAt: new Date().toISOString(), capacityBytes: 1024 ** 3 });
  await world.restart("crashed");
  const { backend } = world;
  await expect
    .poll(() => backend.usage("ann"), { timeout: 20_000 })
    .toMatchObject({ volumes: 0, volumeGib: 0 });
  // It is not forgotten: an msb that goes on without its server may still make it.
  expect(existsSync(join(world.home, "gateway", "volumes", `${id}.json`))).toBe(true);
  await backend.sweep();
  expect(await backend.usage("ann")).toMatchObject({ volumes: 0, volumeGib: 0 });
  expect((await backend.volumes.create({ name: "data", labels: {}, owner: "ann" })).name).toBe("data");
}, 60_000);
