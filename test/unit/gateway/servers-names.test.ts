import { afterEach, describe, expect, test, vi } from "vitest";
import type { ServersBackend } from "../../../docker/gateway/src/backends/servers/backend";
import { KEPT_MS, MemoryNames } from "../../../docker/gateway/src/backends/servers/names";
import { serverOf } from "../../../docker/gateway/src/sandboxes/ids";
import { randomFrom, seedFromEnvironment } from "../../harness/random";
import { listed, refused, wanted, within } from "./backend-contract/world";
import { ServersWorld } from "./servers-world";

describe("names", () => {
  test("1,000 creates of 100 names at once, through two routers, make one of each", async () => {
    const world = await ServersWorld.make({ limits: { totalSandboxes: 3_000 } });
    const registry = new MemoryNames();
    const routers = [world.another({ names: registry }), world.another({ names: registry })];
    const attempts = Array.from({ length: 1_000 }, (_, at) =>
      (routers[at % 2] as ServersBackend).sandboxes.create(wanted(`box-${(at * 7) % 100}`)),
    );
    const outcomes = await Promise.allSettled(attempts);
    const names = outcomes.flatMap((each) => (each.status === "fulfilled" ? [each.value.name] : []));
    expect(names.sort()).toEqual(Array.from({ length: 100 }, (_, at) => `box-${at}`).sort());
    for (const each of outcomes)
      if (each.status === "rejected") expect(each.reason).toMatchObject({ kind: "nameTaken" });
    for (const router of routers) expect((await router.usage()).total).toBe(100);
    const seen = await Promise.all(
      routers.map(({ sandboxes }) => sandboxes.list({ labels: {}, limit: 500 })),
    );
    for (const { items } of seen) expect(items.map(({ name }) => name).sort()).toEqual(names);
  }, 120_000);

  test("whatever is made and removed through two routers, in any order: a name is one's, and then free", async () => {
    const seed = seedFromEnvironment("SERVERS_SEED");
    const random = randomFrom(seed);
    const world = await ServersWorld.make();
    const registry = new MemoryNames();
    const routers = [world.another({ names: registry }), world.another({ names: registry })];
    const lane = async () => {
      for (let turn = 0; turn < 25; turn++) {
        const { sandboxes } = random.pick(routers);
        const name = `n${random.between(0, 3)}`;
        if (random.between(0, 1)) {
          await sandboxes
            .create(wanted(name))
            .catch((error) => expect([seed, error.kind]).toEqual([seed, "nameTaken"]));
          continue;
        }
        const found = await sandboxes.get({ name }, { owner: "ann" });
        if (found)
          await sandboxes
            .want(found.id, "removed")
            .catch((error) => expect(error.kind).toBe("sandboxNotFound"));
      }
    };
    await Promise.all([lane(), lane(), lane(), lane()]);
    const names = (await listed(world)).map(({ name }) => name);
    expect([seed, names]).toEqual([seed, [...new Set(names)]]);
    for (const { id } of await listed(world)) await world.backend.sandboxes.want(id, "removed");
    for (const name of ["n0", "n1", "n2", "n3"]) await world.backend.sandboxes.create(wanted(name));
  }, 60_000);

  test("that of a create whose answer was lost is free exactly where nothing was made", async () => {
    const world = await ServersWorld.make();
    const { router, ways } = world.anotherOverWays();
    await router.sandboxes.list({ labels: {}, limit: 10 });
    for (const way of ways) way.state = "lost answers";
    await refused(router.sandboxes.create(wanted("box")), "unavailable");
    for (const way of ways) way.state = "open";
    const made = await router.sandboxes.get({ name: "box" }, { owner: "ann" });
    // It is there once, although its client does not know it.
    expect(made).toMatchObject({ name: "box" });
    await refused(router.sandboxes.create(wanted("box")), "nameTaken");
    expect((await router.usage()).total).toBe(1);
  });
});

/** A sandbox on each server, by its number. */
async function oneOnEach({ backend, worlds }: ServersWorld): Promise<string[]> {
  const ids = new Map<number | undefined, string>();
  for (let at = 0; ids.size < worlds.length; at++) {
    const { id } = await backend.sandboxes.create(wanted(`of-${at}`, { desired: "running" }));
    await backend.sandboxes.until(id, ({ settled }) => settled, within(20_000));
    ids.set(serverOf(id), id);
  }
  return worlds.map((_, number) => ids.get(number) as string);
}

afterEach(() => vi.useRealTimers());

const KINDS = ["sandbox", "volume", "snapshot"] as const;

test("a name is one's, whichever routers are asked, and however often they start anew with an empty registry", async () => {
  const seed = seedFromEnvironment("SERVERS_SEED");
  const random = randomFrom(seed);
  const world = await ServersWorld.make();
  const sources = await oneOnEach(world);
  const routers = [world.another(), world.another(), world.another()];
  const bearers = new Map<string, string>();
  const make = async (kind: (typeof KINDS)[number], name: string, router: ServersBackend) => {
    if (kind === "sandbox") return router.sandboxes.create(wanted(name));
    if (kind === "volume") return router.volumes.create({ name, labels: {}, owner: "ann" });
    const sandboxId = random.pick(sources);
    const made = await router.snapshots.create({ name, labels: {}, owner: "ann", sandboxId, force: false });
    await router.snapshots.until(made.id, within(20_000));
    return made;
  };
  const remove = (kind: (typeof KINDS)[number], id: string, router: ServersBackend) => {
    if (kind === "sandbox") return router.sandboxes.want(id, "removed");
    return kind === "volume" ? router.volumes.remove(id, {}) : router.snapshots.remove(id, {});
  };
  for (let turn = 0; turn < 120; turn++) {
    const at = random.between(0, routers.length - 1);
    if (random.between(0, 2) === 0) {
      routers[at] = world.another();
    }
    const router = routers[at] as ServersBackend;
    const [kind, name] = [random.pick(KINDS), `n${random.between(0, 2)}`];
    const bearer = bearers.get(`${kind} ${name}`);
    if (bearer && random.between(0, 2) === 0) {
      await remove(kind, bearer, router);
      bearers.delete(`${kind} ${name}`);
      continue;
    }
    const made = await make(kind, name, router).then(
      ({ id }) => id,
      (error) => error.kind,
    );
    const taken = kind === "snapshot" ? "snapshotNameTaken" : "nameTaken";
    expect([seed, turn, kind, made]).toEqual([
      seed,
      turn,
      kind,
      bearer ? taken : expect.stringContaining("-"),
    ]);
    if (!bearer) bearers.set(`${kind} ${name}`, made);
  }
}, 120_000);

test("the name of what is being made is taken on every server, and free where that fails", async () => {
  const world = await ServersWorld.make();
  const sources = await oneOnEach(world);
  const begin = (router: ServersBackend, sandboxId: string, force = false) =>
    router.snapshots.create({ name: "base", labels: {}, owner: "ann", sandboxId, force });
  await world.captures("hang");
  const [first = "", ...others] = sources;
  const { id } = await begin(world.backend, first);
  for (const router of [world.backend, world.another()])
    for (const source of others)
      for (const force of [false, true]) await refused(begin(router, source, force), "snapshotNameTaken");
  await world.captures("fail");
  expect(await world.backend.snapshots.until(id, within(20_000))).toMatchObject({ status: "failed" });
  await world.captures("well");
  const made = await begin(world.another(), others[0] ?? "");
  expect(await world.backend.snapshots.until(made.id, within(20_000))).toMatchObject({ status: "succeeded" });
}, 60_000);

test("the registry holds what is under way, and forgets what was made, lost or given up", async () => {
  vi.useFakeTimers({ toFake: ["Date"] });
  const random = randomFrom(seedFromEnvironment("SERVERS_SEED"));
  const names = new MemoryNames();
  let most = 0;
  for (let turn = 0; turn < 50_000; turn++) {
    const name = `n${turn}`;
    const first = await names.take(name);
    if (!("taken" in first)) throw new Error(`${name} was held`);
    expect(await names.take(name)).toEqual({ held: first.taken });
    const end = random.between(0, 99);
    if (end === 0) await names.settle(name, first.taken, null);
    else if (end % 2) await names.settle(name, first.taken, name);
    else await names.release(name, first.taken);
    if (end % 2 === 0 && end > 0) expect(await names.take(name)).toHaveProperty("taken");
    vi.setSystemTime(Date.now() + 100);
    most = Math.max(most, names.size);
  }
  // What a minute, a quarter of an hour and an hour bring, and as much again before it is looked through.
  expect(most).toBeLessThan(2 * (600 + 9_000 / 2 + 360) + 1_000);
  vi.setSystemTime(Date.now() + KEPT_MS.lost);
  for (let turn = 0; turn < 50_000; turn += 100) expect(await names.take(`n${turn}`)).toHaveProperty("taken");
});
