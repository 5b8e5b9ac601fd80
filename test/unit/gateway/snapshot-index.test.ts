import fc from "fast-check";
import { expect, test, vi } from "vitest";
import * as z from "zod";
import { RecordStore } from "../../../docker/gateway/src/backends/msb/record-store";
import { SnapshotIndex } from "../../../docker/gateway/src/backends/msb/snapshot-index";
import type { SnapshotRecord } from "../../../docker/gateway/src/backends/msb/snapshot-record";
import { shortSnapshotId } from "../../../docker/gateway/src/sandboxes/snapshot-manifest";
import { temporaryFolder } from "./harness";

const DIGESTS = ["a", "b"].map((digit) => `sha256:${digit.repeat(64)}`);
const owner = fc.constantFrom("ann", "bob", null);
const id = fc.constantFrom("s1", "s2", "s3", "s4");
const record = fc.record({
  ...{ id, owner, name: fc.constantFrom("n1", "n2"), replaces: fc.option(id) },
  state: fc.constantFrom("making", "active", "failing", "failed", "deleting"),
  made: fc.option(fc.constantFrom(...DIGESTS).map((digest) => ({ digest }))),
}) as unknown as fc.Arbitrary<SnapshotRecord>;
const asked = fc.record({
  owner: fc.option(owner, { nil: undefined }),
  name: fc.constantFrom("n1", "n2"),
  id,
  digest: fc.constantFrom(...DIGESTS),
});

test("what is known of snapshots is what their records say, whatever came before, and looks at no other's", async () => {
  const store = await RecordStore.open<SnapshotRecord>(temporaryFolder(), z.custom<SnapshotRecord>(), {
    error: () => undefined,
  });
  const there = new Map<string, SnapshotRecord>();
  vi.spyOn(store, "all").mockImplementation(() => {
    throw new Error("a request looks at the records of all");
  });
  const index = new SnapshotIndex(store);
  const step = fc.oneof(
    record.map((made) => ({ made })),
    id.map((gone) => ({ gone })),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 12 }), asked, async (steps, asked) => {
      const writes = steps.map((each) => {
        if ("gone" in each) {
          there.delete(each.gone);
          return store.delete(each.gone);
        }
        there.set(each.made.id, each.made);
        return store.put(each.made);
      });
      const all = [...there.values()];
      const replaced = new Set(all.filter(({ state }) => state === "active").map(({ replaces }) => replaces));
      const seen = all.filter((each) => asked.owner === undefined || each.owner === asked.owner);
      const active = seen.filter((each) => each.state === "active" && !replaced.has(each.id));
      expect(new Set(index.active(asked.owner))).toEqual(new Set(active));
      expect(index.get(asked.id, asked.owner)).toBe(active.find((each) => each.id === asked.id));
      const isOneOf = (found: SnapshotRecord | undefined, some: SnapshotRecord[]) =>
        some.length === 0 ? expect(found).toBeUndefined() : expect(some).toContain(found);
      isOneOf(
        index.named(asked.name, asked.owner),
        active.filter(({ name }) => name === asked.name),
      );
      for (const word of [asked.digest, shortSnapshotId(asked.digest)])
        isOneOf(
          index.withDigest(word, asked.owner),
          active.filter(({ made }) => made?.digest === asked.digest),
        );
      const making = seen.filter(({ state }) => state === "making");
      expect(index.isMaking(asked.name, asked.owner)).toBe(making.some(({ name }) => name === asked.name));
      expect(index.count(asked.owner)).toBe(
        making.length + seen.filter(({ state }) => state === "active").length,
      );
      await Promise.all(writes);
    }),
    { numRuns: 100 },
  );
});
