import { randomUUID } from "node:crypto";
import fc from "fast-check";
import { expect, test, vi } from "vitest";
import { egressPolicy } from "../../../docker/gateway/src/backends/msb/egress";
import { Entry, SandboxIndex } from "../../../docker/gateway/src/backends/msb/sandbox-index";
import { newRecord, type SandboxRecord } from "../../../docker/gateway/src/backends/msb/sandbox-record";
import { sandboxOf, statusOf } from "../../../docker/gateway/src/backends/msb/sandbox-view";
import { readCreateRequest } from "../../../docker/gateway/src/http/create-request";
import { KeptAnswers } from "../../../docker/gateway/src/http/kept-answers";
import { pageOf } from "../../../docker/gateway/src/http/paging";
import { type ClientShape, sandboxBodyOf } from "../../../docker/gateway/src/http/sandbox-body";
import { createBody } from "../../../docker/gateway/src/http/schema/sandbox";
import type { Position, Sandbox } from "../../../docker/gateway/src/sandboxes/backend";
import { sandboxState } from "../../../docker/gateway/src/sandboxes/states";
import { NEW_CLIENT, newBody, OLD_CLIENT, TestGateway } from "./harness";

const policy = egressPolicy.parse({});

function recordOf(change: object): SandboxRecord {
  const { spec } = readCreateRequest(createBody.parse(newBody("a", change as never)));
  return newRecord({ spec, slug: "a", owner: "k", desired: "stopped" }, policy, randomUUID());
}

/** A page as it was made before any was kept: from objects of its own, and in one go. */
function plainPage(entries: Entry[], more: boolean, shape: ClientShape): string {
  const data = entries.map((entry) => {
    const { spec, ...record } = entry.record;
    const whole = spec && JSON.parse(JSON.stringify(spec));
    const paused = record.state === "paused" && record.desired === "paused";
    const { settled, ended, version } = entry;
    const status = statusOf(entry);
    const sandbox: Sandbox = { ...record, version, spec: whole, status, paused, settled, ended };
    return sandboxBodyOf(sandbox, shape);
  });
  const last = entries.at(-1)?.record;
  const cursor = last && Buffer.from(JSON.stringify([last.createdAt, last.id])).toString("base64url");
  return JSON.stringify({ data, next_cursor: more && cursor ? cursor : null });
}

const word = fc
  .string({ unit: "grapheme", minLength: 1, maxLength: 20 })
  .filter((text) => !/[=\0]/.test(text));
const time = fc.date({ min: new Date(0), noInvalidDate: true }).map((date) => date.toISOString());
const orNull = <T>(some: fc.Arbitrary<T>) => fc.option(some, { nil: null });

/** What a create may ask for. */
const asked = fc.record(
  {
    env: fc.array(fc.record({ key: word, value: word }), { maxLength: 3 }),
    labels: fc.dictionary(fc.constantFrom("a", "b", "ü"), word),
    mounts: fc.array(
      fc.nat(9).map((at) => ({ type: "named", name: `v${at}`, guest: `/m${at}` })),
      { maxLength: 2 },
    ),
    resources: fc.record({ vcpus: fc.integer({ min: 1, max: 9 }), disk_size_mib: fc.constant(64) }),
    runtime: fc.record(
      { workdir: fc.constantFrom("/a", "/ü"), user: word, cmd: fc.array(word) },
      { requiredKeys: [] },
    ),
    network: fc.record(
      { strict: fc.boolean(), max_connections: fc.nat(9), policy: fc.constant({ rules: [] }) },
      { requiredKeys: [] },
    ),
    init: fc.record({ cmd: word, args: fc.array(word) }),
    pull_policy: fc.constantFrom("always", "never"),
    lifecycle: fc.record({ ephemeral: fc.boolean(), idle_timeout_secs: fc.constant(9) }),
  },
  { requiredKeys: [] },
);

/** What may become of a record. */
const change: fc.Arbitrary<Partial<SandboxRecord>> = fc.record(
  {
    state: fc.constantFrom(...sandboxState.options),
    desired: fc.constantFrom("running", "stopped", "paused"),
    resolved: fc.record({
      ...{ reference: word, vcpus: fc.nat(9), memoryMib: fc.nat(999), labels: fc.dictionary(word, word) },
      ...{ workdir: orNull(word), cmd: orNull(fc.array(word)) },
    }),
    startedAt: orNull(time),
    stoppedAt: orNull(time),
    failure: orNull(fc.record({ kind: fc.constant("runtimeFailed" as const), message: word })),
    forkOf: orNull(fc.uuid()),
    spec: fc.constant(null),
  },
  { requiredKeys: [] },
);

const step = fc.oneof(
  fc.record({ change, at: fc.nat() }),
  fc.record({ asked }),
  fc.record({ removed: fc.nat() }),
  fc.record({ limit: fc.integer({ min: 1, max: 4 }), shape: fc.constantFrom<ClientShape>("0.6", "0.7") }),
);

/** All pages of a list, kept or made, each compared with a plain one. */
function comparePages(index: SandboxIndex, kept: KeptAnswers, limit: number, shape: ClientShape): void {
  for (let after: Position | undefined, more = true; more; ) {
    const page = index.page({ after, limit }, () => true);
    const items = page.entries.map(sandboxOf);
    const made = () => pageOf({ items, more: page.more }, (sandbox) => sandboxBodyOf(sandbox, shape));
    const bytes = kept.get(items, `${page.more} ${shape}`, made);
    expect(bytes.toString()).toBe(plainPage(page.entries, page.more, shape));
    after = items.at(-1);
    more = page.more;
  }
}

test("a page is what a plain one would be, byte for byte, whatever happens to sandboxes between two lists", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), fc.constantFrom(0, 40_000, undefined), (steps, most) => {
      const index = new SandboxIndex([]);
      const kept = new KeptAnswers(most);
      for (const step of steps) {
        const entries = [...index.all()];
        if ("asked" in step) index.add(new Entry({ ...recordOf(step.asked), id: randomUUID() }));
        const entry =
          entries[("at" in step ? step.at : "removed" in step ? step.removed : 0) % entries.length];
        if ("removed" in step && entry) index.delete(entry);
        if ("change" in step && entry) entry.record = { ...entry.record, ...step.change };
        if ("limit" in step) comparePages(index, kept, step.limit, step.shape);
        expect(kept.bytes).toBeLessThanOrEqual(most ?? Number.POSITIVE_INFINITY);
      }
      for (const shape of ["0.7", "0.6", "0.7"] as const) comparePages(index, kept, 3, shape);
    }),
  );
});

test("a page that was made before is not made again until something on it changes", () => {
  const entries = Array.from({ length: 5 }, () => new Entry(recordOf({})));
  const kept = new KeptAnswers();
  let made = 0;
  const get = (more = false) => kept.get(entries, `${more}`, () => Buffer.from(`${++made}`)).toString();
  expect([get(), get(), get(true), get()]).toEqual(["1", "1", "2", "1"]);
  for (const entry of entries) entry.record = { ...entry.record };
  expect([get(), get()]).toEqual(["3", "3"]);
});

/** Requests that change nothing of a sandbox that is stopped, and are answered with it. */
const VIEWS = [
  ["GET", "/v1/sandboxes/ID"],
  ["GET", "/v1/sandboxes/by-name/box"],
  ["POST", "/v1/sandboxes/ID/stop"],
  ["POST", "/v1/sandboxes/by-name/box/stop"],
] as const;

test("the answer of one sandbox is made once for all views, as long as it is as it was", async () => {
  const gateway = await TestGateway.start();
  const rule = { direction: "egress", destination: "any", action: "allow", ports: [{ start: 1, end: 2 }] };
  const network = { policy: { rules: Array.from({ length: 500 }, () => rule) } };
  const { id, spec } = (await gateway.create("box", { network })).body;
  expect(spec.network.policy.rules).toHaveLength(500);
  const stringify = vi.spyOn(JSON, "stringify");
  const made = () => stringify.mock.calls.filter(([value]) => value?.org_id).length;
  const view = async (method: string, path: string, agent: string) => {
    const options = { headers: { "user-agent": agent }, body: method === "POST" ? {} : undefined };
    const { status, body } = await gateway.request(method, path.replace("ID", id), options);
    expect(status).toBe(200);
    return body;
  };
  const views = fc.array(fc.tuple(fc.constantFrom(...VIEWS), fc.constantFrom(NEW_CLIENT, OLD_CLIENT)));
  const asked = async (all: [readonly [string, string], string][]) => {
    const path = `/v1/sandboxes/${id}`;
    stringify.mockClear();
    expect((await gateway.post(`${path}/start?wait_for=running`)).body.status).toBe("running");
    expect((await gateway.post(`${path}/stop`)).body.status).toBe("stopped");
    expect(made()).toBeGreaterThan(0);
    const plain: Record<string, unknown> = {};
    for (const agent of [NEW_CLIENT, OLD_CLIENT]) plain[agent] = await view("GET", path, agent);
    stringify.mockClear();
    for (const [[method, path], agent] of all) expect(await view(method, path, agent)).toEqual(plain[agent]);
    expect(made()).toBe(0);
  };
  await fc.assert(fc.asyncProperty(views, asked), { numRuns: 10, endOnFailure: true });
  stringify.mockRestore();
}, 60_000);

/** Milliseconds of the fastest of some rounds, in turn with the other. */
async function fastest(...works: (() => unknown)[]): Promise<number[]> {
  const best = works.map(() => Number.POSITIVE_INFINITY);
  for (let round = 0; round < 20; round++)
    for (const [at, work] of works.entries()) {
      const began = performance.now();
      await work();
      best[at] = Math.min(best[at] ?? 0, performance.now() - began);
    }
  return best;
}

test("a page of a hundred costs little more than one of one, and of many sandboxes no more than of few", async () => {
  const { gateway, create, get } = await TestGateway.start({ LIMIT_REQUESTS_PER_SECOND: "100000" });
  for (let number = 0; number < 100; number++) await create(`box-${number}`, {}, "");
  const page = (limit: number) => async () => {
    for (let at = 0; at < 20; at++) {
      const { statusCode } = await gateway.app.inject(`/v1/sandboxes?limit=${limit}`);
      expect(statusCode).toBe(200);
    }
  };
  const { data } = (await get("/v1/sandboxes")).body;
  expect(data).toHaveLength(100);
  const [hundred = 0, one = 0] = await fastest(page(100), page(1));
  expect(hundred / one).toBeLessThan(6);

  const fill = (count: number) => new SandboxIndex(Array.from({ length: count }, () => recordOf({})));
  const walk = (index: SandboxIndex) => {
    const after = [...index.all()][index.size - 200]?.record;
    return () => {
      for (let at = 0; at < 200; at++) index.page({ after, limit: 100 }, () => true);
    };
  };
  const [many = 0, few = 0] = await fastest(walk(fill(10_000)), walk(fill(200)));
  expect(many / few).toBeLessThan(5);
}, 120_000);
