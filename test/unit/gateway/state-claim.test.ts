import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { StateClaim } from "../../../docker/gateway/src/backends/msb/state-version";
import { ConfigError, ServiceError } from "../../../docker/gateway/src/errors";
import * as files from "../../../docker/gateway/src/files/atomic-file";
import { atFileEnd } from "../../harness/file-end";
import { temporaryFolder } from "./harness";
import { MsbWorld } from "./msb-world";

/** A disk on which nothing can be written to the file of the version, while it is full. */
const disk = { full: false };
const write = files.writeFileAtomically;
beforeAll(() => {
  // Not by vi.mock: the files of unit tests share the modules that are loaded.
  vi.spyOn(files, "writeFileAtomically").mockImplementation(async (path, content) => {
    if (disk.full && path.endsWith("/gateway/version"))
      throw new ServiceError("diskFull", "the server's disk is full");
    await write(path, content);
  });
});
afterAll(() => {
  vi.restoreAllMocks();
});

test("any row of tries: only a state that is too new makes the server unusable, and what fails is tried again", async () => {
  const now = "0.7.11";
  const tries = fc.array(
    fc.record({ answers: fc.boolean(), full: fc.boolean(), readable: fc.boolean(), newer: fc.boolean() }),
    { maxLength: 8 },
  );
  await fc.assert(
    fc.asyncProperty(tries, async (rows) => {
      const home = temporaryFolder();
      const file = join(home, "gateway", "version");
      mkdirSync(join(home, "gateway"));
      let answers = true;
      const version = async () => {
        if (!answers) throw new Error("msb hangs");
        return now;
      };
      const claim = new StateClaim(home, version, { error: () => undefined });
      let made = false;
      for (const row of [...rows, { answers: true, full: false, readable: true, newer: false }]) {
        ({ answers } = row);
        disk.full = row.full;
        if (!made) rmSync(file, { recursive: true, force: true });
        if (!made && !row.readable) mkdirSync(file);
        else if (!made) writeFileSync(file, row.newer ? "99.0.0" : "0.7.1");
        const told: unknown[] = [];
        await claim.settle().catch((error) => told.push(error));
        const refuses = !made && row.answers && row.readable && row.newer;
        expect(told).toEqual(refuses ? [expect.any(ConfigError)] : []);
        expect(claim.refused).toBe(refuses);
        if (refuses) return;
        made ||= row.answers && row.readable && !row.full;
        if (made) expect(readFileSync(file, "utf8")).toBe(now);
        else if (row.readable) expect(readFileSync(file, "utf8")).toBe(row.newer ? "99.0.0" : "0.7.1");
      }
      expect(made).toBe(true);
    }),
    { numRuns: 100 },
  );
});

test("a server of a new version starts on a full disk, where what is there can be removed", async () => {
  const world = await MsbWorld.make();
  const { id } = await world.backend.volumes.create({ name: "large", labels: {}, owner: "ann" });
  const file = join(world.home, "gateway", "version");
  writeFileSync(file, "0.7.1");
  disk.full = true;
  atFileEnd(() => {
    disk.full = false;
  });
  await world.restart("drained");
  await world.backend.volumes.remove(id, { owner: "ann" });
  expect(await world.backend.volumes.list({})).toEqual([]);
  expect(readFileSync(file, "utf8")).toBe("0.7.1");
  disk.full = false;
  await world.restart("drained");
  expect(readFileSync(file, "utf8")).toBe("0.7.11");
});
