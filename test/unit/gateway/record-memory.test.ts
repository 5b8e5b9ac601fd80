import { randomUUID } from "node:crypto";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import fc from "fast-check";
import { expect, test } from "vitest";
import { egressPolicy } from "../../../docker/gateway/src/backends/msb/egress";
import { Entry, SandboxIndex } from "../../../docker/gateway/src/backends/msb/sandbox-index";
import {
  newRecord,
  type SandboxRecord,
  sandboxRecord,
} from "../../../docker/gateway/src/backends/msb/sandbox-record";
import { sandboxOf } from "../../../docker/gateway/src/backends/msb/sandbox-view";
import { sent } from "../../../docker/gateway/src/backends/remote/calls";
import { Mirror } from "../../../docker/gateway/src/backends/servers/mirror";
import { readCreateRequest } from "../../../docker/gateway/src/http/create-request";
import { createBody } from "../../../docker/gateway/src/http/schema/sandbox";
import type { Changes, Mirrored } from "../../../docker/gateway/src/sandboxes/changes";
import { CompactSpec } from "../../../docker/gateway/src/sandboxes/compact-spec";
import { rowFrom } from "../../../docker/gateway/src/sandboxes/sandbox-row";
import { newBody } from "./harness";

setFlagsFromString("--expose-gc");
const collectGarbage: () => void = runInNewContext("gc");

/** Bytes that are in use now. */
function inUse(): number {
  collectGarbage();
  collectGarbage();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

const policy = egressPolicy.parse({
  grants: Array.from({ length: 100 }, (_each, at) => ({ destination: { cidr: `10.${at}.0.0/16` } })),
});
const specOf = (change: object) => readCreateRequest(createBody.parse(newBody("a", change as never))).spec;
const recordOf = (change: object): SandboxRecord =>
  newRecord({ spec: specOf(change), slug: "a", owner: "k", desired: "stopped" }, policy, randomUUID());

/** Of many small things: as objects these take some times as much as their text. */
const manyThings = {
  init: {
    ...{ cmd: "x", args: Array.from({ length: 1024 }, () => "a") },
    env: Array.from({ length: 1024 }, (_each, at) => [`${at}`, ""]),
  },
  network: {
    policy: {
      rules: Array.from({ length: 60 }, () => ({
        ...{ direction: "egress", destination: "any", action: "allow" },
        ports: Array.from({ length: 24 }, () => ({ start: 1, end: 2 })),
      })),
    },
  },
};

const COUNT = 200;
/** Of an idle sandbox, beside the text of its spec. */
const MOST_BESIDE = 6_000;

test.each([
  ["small", {}],
  ["of many small things", manyThings],
  ["of letters that take more than a byte", { env: [{ key: "A", value: "ü🐳".repeat(8_000) }] }],
])("a sandbox that does nothing takes the bytes of its spec: %s", (_what, change) => {
  const bytes = Buffer.byteLength(JSON.stringify(recordOf(change).spec));
  const before = inUse();
  const index = new SandboxIndex(Array.from({ length: COUNT }, () => recordOf(change)));
  const made = (inUse() - before) / COUNT;
  expect(made).toBeLessThan(bytes + MOST_BESIDE);

  const files = [...index.all()].map(({ record }) => Buffer.from(JSON.stringify(record)));
  const beforeRead = inUse();
  const read = new SandboxIndex(files.map((file) => sandboxRecord.parse(JSON.parse(file.toString()))));
  const readAgain = (inUse() - beforeRead) / COUNT;
  expect(readAgain).toBeLessThan(bytes + MOST_BESIDE);
  console.log(`spec ${bytes} bytes: ${Math.round(made)} in memory, ${Math.round(readAgain)} after a restart`);
  expect([index.size, read.size]).toEqual([COUNT, COUNT]);
});

test("a router's copy of it takes the same, whatever is in its spec", async () => {
  const labels = Object.fromEntries(Array.from({ length: 128 }, (_each, at) => [`k${at}`, "v".repeat(100)]));
  for (const change of [{}, manyThings, { ...manyThings, labels }]) {
    const answer = JSON.stringify(sent(sandboxOf(new Entry(recordOf(change)))));
    const changes = async (): Promise<Changes> => ({
      ...{ anew: true, removed: [], moment: "1", more: false },
      changed: Array.from({ length: COUNT }, (_each, at) => rowFrom({ ...JSON.parse(answer), id: `${at}` })),
    });
    const before = inUse();
    const mirror = new Mirror({ changes } as Mirrored);
    await mirror.refresh();
    expect((inUse() - before) / COUNT).toBeLessThan(MOST_BESIDE);
    expect(mirror.usage(undefined).total).toBe(COUNT);
  }
});

test("a spec comes back as it was, whatever is in it", () => {
  const word = fc
    .string({ unit: "grapheme", minLength: 1, maxLength: 20 })
    .filter((text) => !/[=\0]/.test(text));
  const change = fc.record({
    env: fc.array(fc.record({ key: word, value: word }), { maxLength: 5 }),
    labels: fc.dictionary(fc.constantFrom("a", "b", "__proto__x", "ü"), word),
    mounts: fc.array(
      fc.nat(9).map((at) => ({ type: "named", name: `v${at}`, guest: `/m${at}` })),
      { maxLength: 3 },
    ),
    resources: fc.record({
      vcpus: fc.integer({ min: 1, max: 9 }),
      memory_mib: fc.integer({ min: 32, max: 999 }),
    }),
  });
  fc.assert(
    fc.property(change, (given) => {
      const spec = specOf(given);
      const compact = new CompactSpec(spec);
      expect(compact.whole()).toEqual(JSON.parse(JSON.stringify(spec)));
      expect(JSON.parse(JSON.stringify({ spec: compact })).spec).toEqual(JSON.parse(JSON.stringify(spec)));
      expect([compact.vcpus, compact.memoryMib]).toEqual([spec.resources.vcpus, spec.resources.memory_mib]);
      expect(compact.mounted).toEqual(given.mounts.map(({ name }) => name));
      const entry = new Entry(sandboxRecord.parse(JSON.parse(JSON.stringify(recordOf(given)))));
      expect(sandboxOf(entry).spec).toEqual(JSON.parse(JSON.stringify({ ...spec, patches: [] })));
    }),
  );
});
