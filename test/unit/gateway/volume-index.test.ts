import fc from "fast-check";
import { expect, test, vi } from "vitest";
import type { Parts } from "../../../docker/gateway/src/backends/msb/assembly";
import { RecordStore } from "../../../docker/gateway/src/backends/msb/record-store";
import { Entry, SandboxIndex } from "../../../docker/gateway/src/backends/msb/sandbox-index";
import { newRecord, type SandboxRecord } from "../../../docker/gateway/src/backends/msb/sandbox-record";
import { VolumeIndex } from "../../../docker/gateway/src/backends/msb/volume-index";
import {
  mounts,
  type VolumeRecord,
  volumeRecord,
} from "../../../docker/gateway/src/backends/msb/volume-record";
import { readCreateRequest } from "../../../docker/gateway/src/http/create-request";
import { createBody } from "../../../docker/gateway/src/http/schema/sandbox";
import { sizeOfLabels } from "../../../docker/gateway/src/sandboxes/fields";
import { GIB } from "../../../docker/gateway/src/sandboxes/volume-files";
import { newBody, temporaryFolder } from "./harness";
import { MsbWorld } from "./msb-world";

const owner = fc.constantFrom("ann", "bob", null);
/** Names of volumes are ids of others, too. */
const word = fc.constantFrom("v1", "v2", "v3", "v4");

const volume: fc.Arbitrary<VolumeRecord> = fc.record({
  ...{ id: word, handle: word, name: word, owner },
  labels: fc.dictionary(word, word, { maxKeys: 2 }),
  createdAt: fc.constantFrom("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"),
  state: fc.constantFrom("making", "active", "deleting", "removed"),
  capacityBytes: fc.constantFrom(null, undefined, GIB, GIB / 2),
});

test("what is known of volumes is what their records say, whatever came before, and looks at no other's", async () => {
  const store = await RecordStore.open(temporaryFolder(), volumeRecord, { error: () => undefined });
  vi.spyOn(store, "all").mockImplementation(() => {
    throw new Error("a request looks at the records of all");
  });
  const index = new VolumeIndex(store);
  const there = new Map<string, VolumeRecord>();
  /** What is in the folder of each. */
  const files = new Map<string, number>();
  const check = (asked: VolumeRecord["owner"] | undefined, name: string) => {
    const all = [...there.values()].filter((each) => asked === undefined || each.owner === asked);
    const counted = all.filter(({ state }) => state !== "removed");
    const sum = (of: (each: VolumeRecord) => number) => counted.reduce((total, each) => total + of(each), 0);
    expect(index.active(asked).map(({ id }) => id)).toEqual(
      all
        .filter(({ state }) => state === "active")
        .sort((a, b) => (a.createdAt + a.id < b.createdAt + b.id ? -1 : 1))
        .map(({ id }) => id),
    );
    const holds = all.some((each) => each.name === name && /making|active/.test(each.state));
    expect(index.named(name, asked) !== undefined).toBe(holds);
    const made = ({ state }: VolumeRecord) => (state === "making" ? 0 : 1);
    const gib = ({ id, capacityBytes }: VolumeRecord) => (capacityBytes || (files.get(id) ?? 0)) / GIB;
    expect(index.usage(asked)).toEqual({
      volumes: sum(made),
      volumeGib: sum((each) => made(each) * gib(each)),
    });
    if (asked === undefined) return;
    const wanted = { gib: 1, labels: 1 };
    const least = { volumes: sum(() => 1) + 1, volumeGib: sum(gib) + 1 };
    const room = { limits: { volumes: 99, volumeGib: 9999 }, limitsOf: () => least };
    index.checkBytes(asked, GIB, room);
    expect(() => index.checkBytes(asked, GIB + 1, room)).toThrow("at most");
    expect(() => index.checkBytes(asked, GIB, room, sum(gib) * GIB)).toThrow("together");
    index.checkLimits(asked, wanted, room);
    for (const field of ["volumes", "volumeGib"] as const)
      for (const less of [
        { ...room, limitsOf: () => ({ ...least, [field]: least[field] - 0.5 }) },
        { ...room, limits: { ...room.limits, [field]: least[field] - 0.5 } },
      ])
        expect(() => index.checkLimits(asked, wanted, less)).toThrow("at most");
    const labels = 1024 * 1024 - sum((each) => sizeOfLabels(each.labels));
    index.checkLimits(asked, { gib: 0, labels }, room);
    expect(() => index.checkLimits(asked, { gib: 0, labels: labels + 1 }, room)).toThrow("characters");
  };
  const step = fc.oneof(
    volume.map((record) => ({ record })),
    word.map((id) => ({ id })),
    // Of a folder, whose bytes are in quarters of a GiB: they are summed up without rounding.
    fc.record({ id: word, bytes: fc.nat(8).map((count) => (count * GIB) / 4), how: fc.nat(3) }),
  );
  const grow = (id: string, bytes: number, how: number) => {
    if (how === 0) {
      // What is written while it is measured counts beside what is found.
      index.writing(id, bytes);
      index.beginMeasure(id);
      index.written(id, bytes);
      index.measured(id, 2 * GIB);
    } else if (how === 1) {
      index.beginMeasure(id);
      index.measured(id, bytes);
    } else {
      index.writing(id, bytes);
      if (how === 2) return index.writing(id, -bytes);
      index.written(id, bytes);
    }
    const before = how === 3 ? (files.get(id) ?? 0) : how === 0 ? 2 * GIB : 0;
    if (there.has(id)) files.set(id, before + bytes);
  };
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 12 }), owner, word, async (steps, asked, name) => {
      const writes = steps.map((each) => {
        if ("bytes" in each) return grow(each.id, each.bytes, each.how);
        if ("id" in each) {
          there.delete(each.id);
          files.delete(each.id);
          return store.delete(each.id);
        }
        there.set(each.record.id, each.record);
        return store.put(each.record);
      });
      check(undefined, name);
      check(asked, name);
      await Promise.all(writes);
    }),
    { numRuns: 60 },
  );
});

const sandbox = fc
  .record({
    volumes: fc.dictionary(word, word, { maxKeys: 3 }),
    mounted: fc.array(word, { maxLength: 3 }),
    state: fc.constantFrom("created", "running", "removing", "gone"),
    desired: fc.constantFrom("running", "removed"),
    answered: fc.boolean(),
    keepUntil: fc.constantFrom(null, "2026-01-01T00:00:00Z"),
  })
  .map(({ mounted, ...rest }): Partial<SandboxRecord> => {
    const mounts = mounted.map((name, at) => ({ type: "named", name, guest: `/m${at}` }));
    const { spec, slug } = readCreateRequest(createBody.parse(newBody("box", { mounts })));
    return {
      ...newRecord({ spec, slug, owner: "ann", desired: "running" }, { mode: "none" } as never, ""),
      ...rest,
    };
  });

test("the users of a volume are the sandboxes that mount it, whatever has become of them", () => {
  const step = fc.record({
    id: fc.constantFrom("s1", "s2", "s3"),
    to: fc.option(sandbox, { nil: undefined }),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 15 }), volume, fc.boolean(), (steps, asked, restarted) => {
      let index = new SandboxIndex();
      for (const { id, to } of steps) {
        const entry = index.get(id);
        if (!to) {
          if (entry) index.delete(entry);
        } else if (entry) {
          entry.record = { ...(to as SandboxRecord), id, handle: id };
          index.count(entry);
        } else index.add(new Entry({ ...(to as SandboxRecord), id, handle: id }));
      }
      if (restarted) index = new SandboxIndex([...index.all()].map(({ record }) => record));
      const users = [...index.all()].filter(({ record }) => mounts(record, asked));
      expect(new Set(index.usersOf(asked))).toEqual(new Set(users));
    }),
  );
});

test("a name is looked up among its owner's, however many others have it", () => {
  const bearer = fc.record({
    owner,
    name: fc.constantFrom("a", "b"),
    state: fc.constantFrom("running", "gone"),
  });
  fc.assert(
    fc.property(fc.array(bearer, { maxLength: 10 }), owner, (bearers, asked) => {
      const blank = fc.sample(sandbox, { numRuns: 1, seed: 1 })[0] as SandboxRecord;
      const index = new SandboxIndex();
      const entries = bearers.map((each, at) => {
        const id = `s${at}`;
        const record = { ...blank, desired: "running", ...each, id, handle: id, createdAt: `2026-${at}` };
        const entry = new Entry(record as SandboxRecord);
        index.add(entry);
        return entry;
      });
      for (const scope of [{ owner: asked }, {}]) {
        const named = entries.filter(
          ({ record }) => record.name === "a" && (!("owner" in scope) || record.owner === asked),
        );
        const holders = named.filter(({ record }) => record.state === "running");
        const found = index.find({ name: "a" }, scope);
        if (holders.length > 0) expect(holders).toContain(found);
        else expect(found).toBe(named.at(-1));
      }
    }),
  );
});

test("a removal of a volume looks at the sandboxes that mount it, and at no others", async () => {
  const { backend } = await MsbWorld.make();
  const { sandboxes, volumes } = backend;
  const { id } = await volumes.create({ name: "data", labels: {}, owner: "ann" });
  const mounts = [{ type: "named", name: "data", guest: "/d" }];
  const { spec, slug } = readCreateRequest(createBody.parse(newBody("box", { mounts })));
  const box = await sandboxes.create({ spec, slug, owner: "ann", desired: "stopped" });
  const { index } = Reflect.get(backend, "parts") as Parts;
  const all = index.all;
  const lookers: string[] = [];
  // Timers look at all, too.
  vi.spyOn(index, "all").mockImplementation(() => {
    lookers.push(new Error().stack ?? "");
    return all();
  });
  await expect(volumes.remove(id, {})).rejects.toThrow('in use by the sandbox "box"');
  await sandboxes.want(box.id, "removed");
  await volumes.remove(id, {});
  expect(lookers.filter((stack) => stack.includes("volumes.ts"))).toEqual([]);
});
