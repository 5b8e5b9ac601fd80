import { afterEach, expect, test, vi } from "vitest";
import type { ServersBackend } from "../../../docker/gateway/src/backends/servers/backend";
import { type Hold, KEPT_MS, MemoryNames } from "../../../docker/gateway/src/backends/servers/names";
import { randomFrom, seedFromEnvironment } from "../../harness/random";
import { refused, wanted } from "./backend-contract/world";
import { anyCluster, apiOf, fakeCluster, namesOf } from "./kubernetes-world";
import { checkOneHolder } from "./one-holder";
import { ServersWorld } from "./servers-world";

afterEach(() => vi.useRealTimers());

const LEASES = "/apis/coordination.k8s.io/v1/namespaces/sandboxes/leases";

test("whatever several routers do at once, and whatever gets lost on their way: never two holders of one name", async () => {
  const seed = seedFromEnvironment("NAMES_SEED");
  const cluster = await anyCluster();
  let takes = 0;
  // A busy machine makes more requests late: names whose end was lost stay taken, and it has proved little.
  for (let round = 0; round < 6 && takes <= 10; round++)
    takes += await checkOneHolder(cluster, { seed: seed + round, routers: 4, lanes: 3, turns: 25 });
  expect([seed, takes > 10]).toEqual([seed, true]);
}, 240_000);

test("they answer as names in memory do, also as time passes", async () => {
  vi.useFakeTimers({ toFake: ["Date"] });
  const seed = seedFromEnvironment("NAMES_SEED");
  const random = randomFrom(seed);
  const cluster = await fakeCluster();
  const memory = new MemoryNames();
  const routers = [namesOf(cluster), namesOf(cluster)];
  /** Holds as both know them, without what each tells them from others by. */
  const seen: [memory: Hold, lease: Hold][] = [];
  const shown = ({ revision: _own, ...hold }: Hold) => hold;
  for (let turn = 0; turn < 400; turn++) {
    const names = random.pick(routers);
    const name = `n${random.between(0, 2)}`;
    const [inMemory, inLease] = seen.length > 0 ? random.pick(seen.slice(-6)) : [];
    const what = random.between(0, 5);
    if (what < 2) {
      const instead = random.between(0, 1) === 0;
      const [a, b] = [
        await memory.take(name, instead ? inMemory : undefined),
        await names.take(name, instead ? inLease : undefined),
      ];
      const [holdA, holdB] = ["taken" in a ? a.taken : a.held, "taken" in b ? b.taken : b.held];
      expect([seed, turn, "taken" in b, shown(holdB)]).toEqual([seed, turn, "taken" in a, shown(holdA)]);
      seen.push([holdA, holdB]);
    } else if (what === 2 && inMemory && inLease) {
      await memory.release(name, inMemory);
      await names.release(name, inLease);
    } else if (what === 3 && inMemory && inLease) {
      const id = random.pick([null, "id-1", "id-2"]);
      await memory.settle(name, inMemory, id);
      await names.settle(name, inLease, id);
    } else if (what === 4) {
      const id = random.pick(["id-1", "id-2"]);
      await memory.forget(name, id);
      await names.forget(name, id);
      await names.settled();
    } else {
      vi.setSystemTime(Date.now() + random.between(0, KEPT_MS.making / 3));
    }
  }
}, 60_000);

test("1,000 creates of 100 names at once, through two routers, make one of each", async () => {
  const cluster = await fakeCluster();
  const world = await ServersWorld.make({ limits: { totalSandboxes: 3_000 } });
  const routers = [cluster, cluster].map((each) => world.another({ names: namesOf(each) }));
  const attempts = Array.from({ length: 1_000 }, (_, at) =>
    (routers[at % 2] as ServersBackend).sandboxes.create(wanted(`box-${(at * 7) % 100}`)),
  );
  const outcomes = await Promise.allSettled(attempts);
  const made = outcomes.flatMap((each) => (each.status === "fulfilled" ? [each.value.name] : []));
  expect(made.sort()).toEqual(Array.from({ length: 100 }, (_, at) => `box-${at}`).sort());
  for (const each of outcomes)
    if (each.status === "rejected") expect(each.reason).toMatchObject({ kind: "nameTaken" });
}, 120_000);

test("leftovers are swept, those of all routers, and nothing else", async () => {
  vi.useFakeTimers({ toFake: ["Date"] });
  const cluster = await fakeCluster();
  const { fake } = cluster;
  const [ours, others] = [namesOf(cluster), namesOf(cluster, { group: "others" })];
  await apiOf(cluster).call({ method: "POST", path: LEASES, body: { metadata: { name: "leader" } } });
  const begin = Array.from({ length: 700 }, async (_, at) => {
    const taken = await ours.take(`n${at}`);
    if (!("taken" in taken)) throw new Error("it was held");
    if (at % 7 === 0) await ours.settle(`n${at}`, taken.taken, "made");
    if (at % 7 === 1) await ours.settle(`n${at}`, taken.taken, null);
  });
  await Promise.all([...begin, others.take("n0")]);
  const left = () => fake.all(LEASES).length - 2;
  const another = namesOf(cluster);
  await another.sweep();
  expect(left()).toBe(700);
  const stages: [number, number][] = [
    [KEPT_MS.made, 600],
    [KEPT_MS.making, 100],
    [KEPT_MS.lost, 0],
  ];
  const began = Date.now();
  for (const [after, count] of stages) {
    vi.setSystemTime(began + after + 1_000);
    await another.sweep();
    expect([after, left()]).toEqual([after, count]);
  }
}, 60_000);

test("while the API is down or silent nothing is taken, with a sentence; what was to be ended is ended later", async () => {
  const cluster = await fakeCluster();
  const { fake } = cluster;
  for (const state of ["down", "silent"] as const) {
    // Long enough for a busy machine to answer while it is up.
    const names = namesOf(cluster, { waitMs: 4_000 }, 3_000);
    const take = async (name: string) => {
      const outcome = await names.take(`${state} ${name}`);
      return "taken" in outcome ? outcome.taken : Promise.reject(new Error("it is held"));
    };
    const [made, lost, free] = [await take("made"), await take("lost"), await take("free")];
    fake.be(state);
    await Promise.all([
      refused(names.take(`${state} new`), "unavailable"),
      expect(names.take(`${state} new`)).rejects.toThrow(/Kubernetes API does not answer/),
      refused(names.settle(`${state} made`, made, "id"), "unavailable"),
      refused(names.settle(`${state} lost`, lost, null), "unavailable"),
      refused(names.release(`${state} free`, free), "unavailable"),
    ]);
    // Nobody waits for it.
    await names.forget(`${state} made`, "other");
    fake.be("up");
    await names.settled();
    expect(await names.take(`${state} made`)).toMatchObject({ held: { state: "made", id: "id" } });
    expect(await names.take(`${state} lost`)).toMatchObject({ held: { state: "lost", id: null } });
    expect(await names.take(`${state} free`)).toHaveProperty("taken");
    expect(await names.take(`${state} new`)).toHaveProperty("taken");
  }
}, 60_000);

test("an account that may not is told at once, and the clock that counts is that of the API", async () => {
  const cluster = await fakeCluster();
  const { fake } = cluster;
  Object.assign(fake.options, { token: "another" });
  await expect(namesOf(cluster).take("box")).rejects.toThrow(/Kubernetes API refuses it/);
  expect(fake.asked.filter((each) => each.startsWith("POST"))).toHaveLength(1);
  Object.assign(fake.options, { token: undefined });

  const hour = 3_600_000;
  fake.clock = () => Date.now() - hour;
  const names = namesOf(cluster);
  await names.sweep();
  const first = await names.take("box");
  const taken = "taken" in first ? first.taken : undefined;
  const written = fake
    .all(LEASES)
    .map(({ metadata }) => Number(metadata.annotations?.["microsandbox-stack/since"]));
  expect(written.map((since) => Math.abs(since - fake.clock()) < hour / 10)).toEqual([true]);
  const second = await namesOf(cluster).take("box");
  expect(second).toEqual({ held: { ...taken, since: expect.any(Number) } });
  expect("held" in second && Math.abs(second.held.since - Date.now())).toBeLessThan(hour / 10);
});
