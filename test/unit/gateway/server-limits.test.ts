import { writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
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
  expect([limits.memoryMib, limits.cpus, limits.sandboxMemoryMib, fits(200)]).toEqual([256, 4, 256, true]);
  expect(() => capacity.checkSize({ vcpus: 1, memoryMib: 257 })).toThrow("limit of 256");

  limit(128, 2);
  await sleep(1_100);
  const cpus = 4 * Math.min(2, availableParallelism());
  expect([limits.memoryMib, limits.cpus, limits.sandboxMemoryMib, fits(200)]).toEqual([
    128,
    cpus,
    128,
    false,
  ]);
  expect(() => capacity.checkSize({ vcpus: 1, memoryMib: 129 })).toThrow("limit of 128");
  expect([set.memoryMib, set.cpus, set.sandboxMemoryMib]).toEqual([64, 1, 64]);
});
