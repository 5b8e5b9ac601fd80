import fc from "fast-check";
import { expect, test } from "vitest";
import { warmByDefault } from "../../../docker/gateway/src/backends/msb/warm-kind";
import { readConfig } from "../../../docker/gateway/src/config";
import { serverLimits } from "../../../docker/gateway/src/server-limits";

const kinds = (container: { memoryMib: number; cpus: number }, env: Record<string, string> = {}) => {
  const config = readConfig({ DEV_MODE: "true", ...env });
  return (
    config.WARM ??
    warmByDefault(
      serverLimits(config, 100, () => container),
      config.STARTER_ARCHIVE,
    )
  );
};

test("without a setting, only a server with room and a built-in image keeps one booted", () => {
  const container = fc.record({
    memoryMib: fc.integer({ min: 512, max: 65_536 }),
    cpus: fc.integer({ min: 1, max: 16 }),
  });
  fc.assert(
    fc.property(container, (one) => {
      const found = kinds(one);
      const guests = one.memoryMib * (7 / 8);
      if (one.cpus < 4 || guests < 8192) expect(found).toEqual([]);
      else expect(found).toEqual([{ image: "starter", count: 1, vcpus: 1, memoryMib: 512 }]);
      expect(kinds(one, { WARM: "[]" })).toEqual([]);
      expect(kinds(one, { LIMIT_MEMORY_MIB: "8191" })).toEqual([]);
    }),
    { examples: [[{ memoryMib: 16_384, cpus: 4 }], [{ memoryMib: 4096, cpus: 4 }]] },
  );
  expect(warmByDefault({ memoryMib: 65_536, sandboxCpus: 16 }, "")).toEqual([]);
});
