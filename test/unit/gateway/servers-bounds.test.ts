import { setImmediate as nextTurn } from "node:timers/promises";
import * as fc from "fast-check";
import { expect, test, vi } from "vitest";
import { RemoteBackend } from "../../../docker/gateway/src/backends/remote/client";
import { serveBackend } from "../../../docker/gateway/src/backends/remote/serve";
import { Mirror } from "../../../docker/gateway/src/backends/servers/mirror";
import { Server } from "../../../docker/gateway/src/backends/servers/server";
import type { Sandbox, Volume } from "../../../docker/gateway/src/sandboxes/backend";
import type { Changes, Mirrored } from "../../../docker/gateway/src/sandboxes/changes";
import { SandboxRow } from "../../../docker/gateway/src/sandboxes/sandbox-row";
import type { Snapshot } from "../../../docker/gateway/src/sandboxes/snapshots";
import { atFileEnd } from "../../harness/file-end";
import { wanted } from "./backend-contract/world";
import { hangingBackend } from "./hanging-backend";
import { ServersWorld } from "./servers-world";

const now = { status: "created", paused: false, settled: true, ended: false } as const;
const sandboxOf = (id: string, version = 0): Sandbox => ({
  ...{ id, version, name: id, slug: id, owner: "ann", ephemeral: false, forkOf: null, spec: null, ...now },
  ...{ resolved: null, failure: null, createdAt: "2026-01-01T00:00:00Z", startedAt: null, stoppedAt: null },
});

test("a copy is read anew a part a turn, and what is there all the while is in it all the while", async () => {
  const names = fc.uniqueArray(fc.nat(40).map(String), { maxLength: 30 });
  const all = async (before: string[], after: string[], atOnce: number) => {
    let there = before;
    const changes = async (since?: string): Promise<Changes> => {
      const from = Number(since ?? 0);
      const end = from + atOnce;
      const changed = there.slice(from, end).map((id) => new SandboxRow(sandboxOf(id)));
      return { anew: since === undefined, changed, removed: [], moment: `${end}`, more: end < there.length };
    };
    const seen = new Set<string>();
    let inTurn = 0;
    const mirror = new Mirror({ changes, watchChanges: async function* () {} } as unknown as Mirrored);
    mirror.watch({
      put: ({ id }) => {
        seen.add(id);
        inTurn += 1;
        expect(inTurn).toBeLessThanOrEqual(atOnce);
      },
      delete: ({ id }) => seen.delete(id),
    });
    const read = async () => {
      let over = false;
      const reading = mirror.refresh().finally(() => {
        over = true;
      });
      while (!over) {
        inTurn = 0;
        if (there === after) for (const id of before) if (after.includes(id)) expect(seen).toContain(id);
        await nextTurn();
      }
      await reading;
      expect([...seen].sort()).toEqual([...there].sort());
      expect(mirror.usage("ann").total).toBe(there.length);
    };
    await read();
    // What it has answered with while it is away is kept, and all is read anew.
    there = after;
    mirror.saw(sandboxOf("seen", 1));
    mirror.keepSeen();
    await read();
    mirror.watch(undefined);
  };
  await fc.assert(fc.asyncProperty(names, names, fc.integer({ min: 1, max: 9 }), all));
});

test("pages hold every sandbox once, in order and whole, however large they are and whatever is removed", async () => {
  const world = await ServersWorld.make();
  const router = world.another();
  const made: Sandbox[] = [];
  for (let at = 0; at < 12; at++) {
    const { spec, ...rest } = wanted(`box-${at}`);
    const env = [{ key: "A", value: "x".repeat(at % 3 === 0 ? 50_000 : 100) }];
    made.push(
      await router.sandboxes.create({ ...rest, spec: { ...spec, env, labels: { at: `${at % 2}` } } }),
    );
  }
  const order = [...made].sort((a, b) => (a.createdAt + a.id < b.createdAt + b.id ? -1 : 1));
  const plain = world.worlds.map(({ backend }) => backend.sandboxes.whole.bind(backend.sandboxes));
  const questions = world.worlds.map(({ backend }) => vi.spyOn(backend.sandboxes, "whole"));
  const walk = async (limit: number, labels: Record<string, string>) => {
    const found: Sandbox[] = [];
    for (let after: Sandbox | undefined; ; after = found.at(-1)) {
      const { items, more } = await router.sandboxes.list({ labels, limit, after });
      expect(items.length > 0 || !more).toBe(true);
      expect(items.length).toBeLessThanOrEqual(limit);
      found.push(...items);
      if (!more) return found;
    }
  };
  const one = async (limit: number, label: string | undefined) => {
    const found = await walk(limit, label === undefined ? {} : { at: label });
    const meant = order.filter(
      (_, at) => label === undefined || made.indexOf(order[at] as Sandbox) % 2 === Number(label),
    );
    expect(found.map(({ id, spec }) => ({ id, env: spec?.env }))).toEqual(
      meant.map(({ id, spec }) => ({ id, env: spec?.env })),
    );
  };
  const label = fc.constantFrom(undefined, "0", "1", "2");
  await fc.assert(fc.asyncProperty(fc.integer({ min: 1, max: 20 }), label, one), {
    numRuns: 20,
    endOnFailure: true,
  });
  for (const { mock } of questions) mock.calls.length = 0;
  await walk(20, {});
  // What was shown, and is as it was, is not asked for again.
  expect(questions.flatMap(({ mock }) => mock.calls)).toEqual([]);
  // Those that go between the row and the answer are on no page, and end no list.
  const gone = new Set<string>();
  for (const [at, { backend }] of world.worlds.entries()) {
    questions[at]?.mockImplementation(async (ids, room) => {
      for (const id of ids) if (order.findIndex((each) => each.id === id) % 3 !== 0) gone.add(id);
      for (const id of ids) if (gone.has(id)) await backend.sandboxes.want(id, "removed");
      return plain[at]?.(ids, room) ?? { items: [], looked: 0 };
    });
  }
  const fresh = world.another();
  const rest: Sandbox[] = [];
  for (let more = true; more; ) {
    const page = await fresh.sandboxes.list({ labels: {}, limit: 2, after: rest.at(-1) });
    expect(page.items.length > 0 || !page.more).toBe(true);
    rest.push(...page.items);
    ({ more } = page);
  }
  expect(rest.map(({ id }) => id)).toEqual(order.filter((_, at) => at % 3 === 0).map(({ id }) => id));
}, 60_000);

/** Another gateway that answers so. */
async function remote(answers: Parameters<typeof hangingBackend>[0]) {
  const { backend: behind, asked } = hangingBackend(answers);
  const server = await serveBackend(behind, { log: { error: () => undefined } });
  const backend = new RemoteBackend({ name: "server 1", url: `http://127.0.0.1:${server.port}` });
  atFileEnd(async () => void (await Promise.all([backend.close(), server.close()])));
  return { backend, asked };
}

/** The longest text that was read in one go, and how often one was. */
function counting() {
  const counts = { most: 0, reads: 0 };
  const parse = JSON.parse;
  const charged = <T>(work: () => T): T => {
    counts.reads += 1;
    const spy = vi.spyOn(JSON, "parse").mockImplementation((text, ...rest) => {
      counts.most = Math.max(counts.most, text.length);
      return parse(text, ...rest);
    });
    try {
      return work();
    } finally {
      spy.mockRestore();
    }
  };
  return { counts, charged };
}

const labels = fc.record({ a: fc.integer({ min: 0, max: 16_000 }).map((length) => "x".repeat(length)) });
const base = { owner: "ann", createdAt: "2026-01-01T00:00:00Z", updatedAt: "2026-01-01T00:00:00Z" };

test("a list of volumes is read in parts, in turns, each at its key's cost", async () => {
  let volumes: Volume[] = [];
  const { backend } = await remote({ "volumes.list": async () => volumes });
  const one = async (all: { a: string }[]) => {
    volumes = all.map((labels, at) => ({
      ...base,
      id: `${1000 + at}`,
      name: `${at}`,
      labels,
      usedBytes: null,
      capacityBytes: null,
    }));
    const { counts, charged } = counting();
    expect(await backend.volumes.list({ owner: "ann" }, charged)).toEqual(volumes);
    expect(counts.most).toBeLessThan(300_000);
    const size = JSON.stringify(volumes).length;
    expect(counts.reads).toBeGreaterThanOrEqual(Math.ceil(size / 300_000));
  };
  await fc.assert(fc.asyncProperty(fc.array(labels, { maxLength: 150, size: "max" }), one), {
    numRuns: 20,
    endOnFailure: true,
  });
}, 60_000);

test("a page of snapshots of several servers is in order, whole, and bounded in what each answers", async () => {
  const stored: Snapshot[][] = [[], []];
  const list =
    (at: number) =>
    async ({ limit, after }: { limit: number; after?: { id: string } }) => {
      const rest = (stored[at] ?? []).filter(({ id }) => after === undefined || id > after.id);
      return { items: rest.slice(0, limit), more: rest.length > limit };
    };
  const servers = await Promise.all(stored.map((_, at) => remote({ "snapshots.list": list(at) })));
  const world = await ServersWorld.make({}, { count: 2 });
  const router = world.another({ around: (_, number) => servers[number]?.backend as RemoteBackend });
  const one = async (all: { a: string }[], where: boolean[], limit: number) => {
    const snapshots = all.map((labels, at) => ({
      ...base,
      id: `${1000 + at}`,
      name: `${at}`,
      labels,
      sandboxId: "s",
      digest: "d",
      sizeBytes: 1,
      manifest: {} as Snapshot["manifest"],
    }));
    for (const at of [0, 1])
      stored[at] = snapshots.filter((_, index) => (where[index % where.length] ? 1 : 0) === at);
    const found: Snapshot[] = [];
    for (let after: Snapshot | undefined; ; after = found.at(-1)) {
      const { counts, charged } = counting();
      const page = await router.snapshots.list({ owner: "ann", limit, after, charged });
      expect(counts.most).toBeLessThan(600_000);
      found.push(...page.items);
      expect(page.items.length > 0 || !page.more).toBe(true);
      if (!page.more) break;
    }
    expect(found.map(({ id }) => id)).toEqual(snapshots.map(({ id }) => id));
  };
  const where = fc.array(fc.boolean(), { minLength: 1, maxLength: 9 });
  const some = fc.array(labels, { maxLength: 400, size: "max" });
  await fc.assert(fc.asyncProperty(some, where, fc.integer({ min: 3, max: 500 }), one), {
    numRuns: 15,
    endOnFailure: true,
  });
  await router.close();
}, 60_000);

test("lists that are asked for at once are read once or twice, whoever asks", async () => {
  const world = await ServersWorld.make({}, { count: 2 });
  const router = world.another();
  const lists = world.worlds.map(({ backend }) => vi.spyOn(backend.volumes, "list"));
  const one = async (count: number) => {
    for (const { mock } of lists) mock.calls.length = 0;
    await Promise.all(Array.from({ length: count }, () => router.volumes.list({ owner: "ann" })));
    for (const { mock } of lists) expect(mock.calls.length).toBeLessThanOrEqual(2);
  };
  await fc.assert(fc.asyncProperty(fc.integer({ min: 1, max: 40 }), one), { numRuns: 10 });
});

test("what one asks for slowly keeps nobody from a server that answers a ping, and a silent one is not waited for", async () => {
  let pings: () => Promise<void> = async () => undefined;
  const { backend } = hangingBackend({ ping: () => pings() });
  const server = new Server(1, backend);
  const slow = () => server.ask(() => new Promise(() => undefined)).catch(({ message }) => message);
  expect(await slow()).toContain("does not answer");
  expect(await Promise.all([server.ask(async () => "answer"), slow()])).toEqual([
    "answer",
    "server 1 does not answer",
  ]);
  expect(await server.ask(async () => "answer")).toBe("answer");
  let answer: () => void = () => undefined;
  pings = () =>
    new Promise((resolve) => {
      answer = resolve;
    });
  await slow();
  await slow();
  await nextTurn();
  await expect.poll(() => server.ask(async () => "answer").catch(({ kind }) => kind)).toBe("unavailable");
  answer();
  await nextTurn();
  expect(await server.ask(async () => "answer")).toBe("answer");
}, 30_000);
