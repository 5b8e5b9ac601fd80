import { randomUUID } from "node:crypto";
import { expect, test } from "vitest";
import { egressPolicy } from "../../../docker/gateway/src/backends/msb/egress";
import { Entry, SandboxIndex } from "../../../docker/gateway/src/backends/msb/sandbox-index";
import { newRecord } from "../../../docker/gateway/src/backends/msb/sandbox-record";
import { sandboxSpec } from "../../../docker/gateway/src/sandboxes/spec";
import { randomFrom } from "../../harness/random";
import { TestGateway } from "./harness";

const policy = egressPolicy.parse({});
const spec = sandboxSpec.parse({ name: "a", reference: "starter", resources: { memory_mib: 64 } });
const entryOf = (owner: string) =>
  new Entry(newRecord({ spec, slug: "a", owner, desired: "stopped" }, policy, randomUUID()));

test("a list of one owner looks at that owner's sandboxes alone, in their order, whoever comes and goes", () => {
  const random = randomFrom(7);
  const index = new SandboxIndex();
  const all: Entry[] = [];
  for (let step = 0; step < 2_000; step++) {
    const gone = random.pick([true, false, false]) ? all[Math.floor(random.next() * all.length)] : undefined;
    if (gone) {
      all.splice(all.indexOf(gone), 1);
      index.delete(gone);
    } else {
      const entry = entryOf(random.pick(["ann", "ann", "ann", "bob", "cid"]));
      all.push(entry);
      index.add(entry);
    }
  }
  for (const owner of ["ann", "bob", "cid", "eve"]) {
    const own = all.filter(({ record }) => record.owner === owner);
    const looked: Entry[] = [];
    const found: Entry[] = [];
    for (let more = true; more; ) {
      const page = index.page(
        { owner, limit: 17, after: found.at(-1)?.record },
        (entry) => looked.push(entry) > 0,
      );
      found.push(...page.entries);
      more = page.more;
    }
    expect(new Set(found)).toEqual(new Set(own));
    expect(found.length).toBe(own.length);
    // One more each page, to know that there is one.
    expect(looked.length).toBeLessThanOrEqual(own.length + own.length / 17 + 1);
    expect(new Set(looked.map(({ record }) => record.owner))).toEqual(new Set(own.length ? [owner] : []));
  }
  const everybody = index.page({ limit: 10_000 }, () => true).entries.map(({ record }) => record);
  expect(everybody.length).toBe(all.length);
  expect(everybody).toEqual(
    [...everybody].sort((a, b) => (a.createdAt + a.id < b.createdAt + b.id ? -1 : 1)),
  );
});

test("the search of a list is charged to whoever asks for it", async () => {
  const gateway = await TestGateway.start();
  for (const name of ["a", "b"]) await gateway.create(name, { labels: { of: name } }, "start=false");
  const { sandboxes } = gateway.gateway.backend;
  let charges = 0;
  const charged = <T>(work: () => T): T => {
    charges++;
    return work();
  };
  const { items } = await sandboxes.list({ labels: { of: "b" }, limit: 10, charged });
  expect([items.map(({ name }) => name), charges]).toEqual([["b"], 1]);
});
