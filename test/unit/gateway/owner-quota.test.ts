import { createHash } from "node:crypto";
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { type Asked, OwnerQuota } from "../../../docker/gateway/src/backends/servers/owner-quota";
import { readKeys } from "../../../docker/gateway/src/keys/key-file";
import type { OwnerLimits } from "../../../docker/gateway/src/limits/capacity";
import { noUsage, type Usage } from "../../../docker/gateway/src/sandboxes/backend";

const OWNER = "ann";
/** Limits as the key file of a deployment has them. */
function limitsIn(limits: object): OwnerLimits {
  const hash = `sha256:${createHash("sha256").update("key").digest("hex")}`;
  const [key] = readKeys(JSON.stringify({ id: OWNER, hash, limits })).keys;
  return key?.limits ?? {};
}

const one = { count: 1, vcpus: 1, memoryMib: 64 };
const KINDS: Record<string, Asked> = {
  made: { made: 1 },
  run: { made: 1, started: one },
  started: { started: one },
  forks: { made: 3, started: { ...one, count: 3 } },
  volume: { volume: { gib: 0 } },
  disk: { volume: { gib: 2 } },
  snapshot: { snapshots: 1 },
};
const kind = fc.constantFrom(...Object.keys(KINDS));
/** What each limit is of. */
const LIMITED: Record<string, string[]> = {
  sandboxes: ["run", "started", "forks"],
  totalSandboxes: ["made", "run", "forks"],
  memoryMiB: ["run", "started", "forks"],
  cpus: ["run", "started", "forks"],
  volumes: ["volume", "disk"],
  volumeGiB: ["volume", "disk"],
  snapshots: ["snapshot"],
  requestsPerSecond: [],
  connections: [],
};
function usedOf(all: Asked[]): Usage {
  const sum = (of: (asked: Asked) => number) => all.reduce((total, asked) => total + of(asked), 0);
  return {
    ...noUsage(),
    total: sum(({ made = 0 }) => made),
    running: sum(({ started }) => started?.count ?? 0),
    memoryMib: sum(({ started }) => (started ? started.count * started.memoryMib : 0)),
    cpus: sum(({ started }) => (started ? started.count * started.vcpus : 0)),
    volumes: sum(({ volume }) => (volume ? 1 : 0)),
    volumeGib: sum(({ volume }) => volume?.gib ?? 0),
    snapshots: sum(({ snapshots = 0 }) => snapshots),
  };
}

test("what no limit of a key is of begins at once, whatever else of it hangs", async () => {
  const limits = fc.dictionary(fc.constantFrom(...Object.keys(LIMITED)), fc.constant(1), { maxKeys: 4 });
  const begins = async (given: Record<string, number>, kinds: string[]) => {
    let asked = 0;
    const count = async () => {
      asked += 1;
      return noUsage();
    };
    const quota = new OwnerQuota(() => limitsIn(given), { ofAll: count, ofSandboxes: count });
    const free = kinds.filter((name) => !Object.keys(given).some((limit) => LIMITED[limit]?.includes(name)));
    const begun: string[] = [];
    for (const name of free)
      void quota.whileMaking(OWNER, KINDS[name] as Asked, () => {
        begun.push(name);
        return new Promise(() => undefined);
      });
    expect([begun, asked]).toEqual([free, 0]);
  };
  await fc.assert(fc.asyncProperty(limits, fc.array(kind, { maxLength: 6 }), begins), {
    examples: [[{}, ["run", "run", "volume"]]],
  });
});

/** Servers that take a random number of turns for each step, and count what is made before, or after, they tell of it. */
test("of a key with limits all goes that fits, beside each other, and nothing that does not", async () => {
  const limits = fc.record(
    {
      ...{ sandboxes: fc.integer({ min: 1, max: 5 }), totalSandboxes: fc.integer({ min: 1, max: 6 }) },
      ...{ volumes: fc.integer({ min: 1, max: 3 }), volumeGiB: fc.integer({ min: 1, max: 5 }) },
      snapshots: fc.integer({ min: 1, max: 3 }),
    },
    { requiredKeys: [] },
  );
  const step = fc.record({ name: kind, before: fc.nat(4), after: fc.nat(4), fails: fc.boolean() });
  const turns = async (count: number) => {
    for (let at = 0; at < count; at++) await Promise.resolve();
  };
  const all = async (
    given: object,
    steps: { name: string; before: number; after: number; fails: boolean }[],
  ) => {
    const own = limitsIn(given);
    const made: Asked[] = [];
    const look = async () => {
      await turns(2);
      const usage = usedOf(made);
      await turns(2);
      return usage;
    };
    const quota = new OwnerQuota(() => own, { ofAll: look, ofSandboxes: look });
    const isWithin = (asked: Asked[]) => {
      const used = usedOf(asked);
      const fits = (count: number, limit?: number) => count <= (limit ?? Infinity);
      return (
        fits(used.running, own.sandboxes) &&
        fits(used.total, own.totalSandboxes) &&
        fits(used.volumes, own.volumes) &&
        fits(used.volumeGib, own.volumeGib) &&
        fits(used.snapshots, own.snapshots)
      );
    };
    const outcomes = await Promise.allSettled(
      steps.map(({ name, before, after, fails }) => {
        const asked = KINDS[name] as Asked;
        return quota.whileMaking(OWNER, asked, async () => {
          await turns(before);
          if (fails) throw new Error("it failed");
          made.push(asked);
          expect(isWithin(made)).toBe(true);
          await turns(after);
        });
      }),
    );
    // Nothing was refused that would have fitted beside what was made in the end.
    for (const [at, outcome] of outcomes.entries())
      if (outcome.status === "rejected" && outcome.reason.kind === "noCapacity")
        expect(isWithin([...made, KINDS[steps[at]?.name ?? ""] as Asked])).toBe(false);
      else if (outcome.status === "rejected") expect(outcome.reason.message).toBe("it failed");
  };
  await fc.assert(fc.asyncProperty(limits, fc.array(step, { maxLength: 12 }), all));
});

test("creates of a key with limits are under way at once where they fit together", async () => {
  const look = async () => noUsage();
  const quota = new OwnerQuota(() => limitsIn({ totalSandboxes: 4 }), { ofAll: look, ofSandboxes: look });
  let underWay = 0;
  let end: () => void = () => undefined;
  const ended = new Promise<void>((resolve) => {
    end = resolve;
  });
  const makes = Array.from({ length: 4 }, () =>
    quota.whileMaking(OWNER, { made: 1 }, async () => {
      underWay += 1;
      if (underWay === 4) end();
      await ended;
    }),
  );
  await Promise.all(makes);
});
