import { writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import fc from "fast-check";
import { expect, test } from "vitest";
import { readConfig } from "../../../docker/gateway/src/config";
import { Capacity, containerLimits } from "../../../docker/gateway/src/limits/capacity";
import { serverLimits } from "../../../docker/gateway/src/server-limits";
import { temporaryFolder } from "./harness";

test("a changed limit of the container holds without a restart, where the settings set none", async () => {
  const group = temporaryFolder();
  const limit = (mib: number, quota: number) => {
    writeFileSync(join(group, "memory.max"), `${mib * 1024 ** 2}\n`);
    writeFileSync(join(group, "cpu.max"), `${quota * 100_000} 100000\n`);
  };
  limit(256, 1);
  const limits = serverLimits(readConfig({}), 10, () => containerLimits(group));
  const set = serverLimits(readConfig({ LIMIT_MEMORY_MIB: "64", LIMIT_CPUS: "1" }), 10, () =>
    containerLimits(group),
  );
  const used = { total: 0, running: 0, memoryMib: 0, cpus: 0 };
  const capacity = new Capacity(limits, () => used);
  const fits = (memoryMib: number) => capacity.hasRoom({ vcpus: 1, memoryMib }, null);
  expect([limits.memoryMib, limits.cpus, limits.sandboxMemoryMib, fits(150)]).toEqual([192, 4, 192, true]);
  expect(() => capacity.checkSize({ vcpus: 1, memoryMib: 193 })).toThrow("limit of 192");

  limit(128, 2);
  await sleep(1_100);
  const cpus = 4 * Math.min(2, availableParallelism());
  expect([limits.memoryMib, limits.cpus, limits.sandboxMemoryMib, fits(150)]).toEqual([96, cpus, 96, false]);
  expect(() => capacity.checkSize({ vcpus: 1, memoryMib: 97 })).toThrow("limit of 96");
  expect([set.memoryMib, set.cpus, set.sandboxMemoryMib]).toEqual([64, 1, 64]);
});

test("guests are promised less than the container has, by default, and what the settings say where they say it", () => {
  const promised = (containerMib: number, set = {}) =>
    serverLimits(readConfig(set), 10, () => ({ memoryMib: containerMib, cpus: 4 })).memoryMib;
  expect([512, 1024, 2048, 4096, 16_384].map((mib) => promised(mib))).toEqual([384, 768, 1536, 3584, 14_336]);
  const memory = fc.integer({ min: 64, max: 8 * 1024 ** 2 });
  fc.assert(
    fc.property(memory, memory, fc.integer({ min: 1, max: 1024 }), (mib, set, more) => {
      const reserve = mib - promised(mib);
      expect(reserve).toBeGreaterThanOrEqual(Math.min(512, mib / 4));
      expect(reserve).toBeLessThanOrEqual(Math.ceil(mib / 4));
      expect(promised(mib + more), "a larger container promises no less").toBeGreaterThanOrEqual(
        promised(mib),
      );
      expect(promised(mib, { LIMIT_MEMORY_MIB: String(set) })).toBe(set);
    }),
  );
});
