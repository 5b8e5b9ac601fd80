import { expect, test } from "vitest";
import type { ServersBackend } from "../../../docker/gateway/src/backends/servers/backend";
import type { Sandbox } from "../../../docker/gateway/src/sandboxes/backend";
import { serverOf } from "../../../docker/gateway/src/sandboxes/ids";
import { randomFrom, seedFromEnvironment } from "../../harness/random";
import { refused, wanted, within } from "./backend-contract/world";
import { ServersWorld, type Way } from "./servers-world";

const everything = { labels: {}, limit: 500 };
const namesIn = async ({ sandboxes }: ServersBackend) =>
  (await sandboxes.list(everything)).items.map(({ name }) => name).sort();
const outcome = (attempt: Promise<Sandbox | undefined>) =>
  attempt.then(
    (sandbox) => sandbox,
    (error) => error.kind as string,
  );

test("while servers come and go, lists are whole, names are one's, and what nobody has is not found", async () => {
  const seed = seedFromEnvironment("SERVERS_SEED");
  const random = randomFrom(seed);
  const world = await ServersWorld.make();
  const { router, ways } = world.anotherOverWays();
  const there = new Map<string, string>();
  expect(await namesIn(router)).toEqual([]);
  let away: number | undefined;
  for (let turn = 0; turn < 200; turn++) {
    const name = `n${random.between(0, 7)}`;
    const id = there.get(name);
    const isAway = id !== undefined && serverOf(id) === away;
    const said = [seed, turn, name, away];
    const what = random.between(0, 5);
    if (what === 0) {
      away = away === undefined ? random.between(0, ways.length - 1) : undefined;
      for (const [at, way] of ways.entries()) way.state = at === away ? "closed" : "open";
    } else if (what < 3) {
      const made = await outcome(router.sandboxes.create(wanted(name)));
      if (typeof made === "object") {
        expect([...said, id]).toEqual([...said, undefined]);
        there.set(name, made.id);
      } else expect([...said, made]).toEqual([...said, isAway ? "unavailable" : "nameTaken"]);
    } else if (id !== undefined && !isAway) {
      await router.sandboxes.want(id, "removed");
      there.delete(name);
    }
    const found = await outcome(router.sandboxes.get({ name }, { owner: "ann" }));
    const seen = typeof found === "object" ? found.id : found;
    const isAwayNow = there.has(name) && serverOf(there.get(name) ?? "") === away;
    expect([...said, seen]).toEqual([...said, isAwayNow ? "unavailable" : there.get(name)]);
    if (random.between(0, 2) === 0)
      expect([...said, await namesIn(router)]).toEqual([...said, [...there.keys()].sort()]);
  }
}, 60_000);

test("a router that starts while a server is away says so, until it has heard that server once", async () => {
  const world = await ServersWorld.make();
  const { id } = await world.backend.sandboxes.create(wanted("box"));
  const at = serverOf(id) ?? 0;
  const { router, ways } = world.anotherOverWays();
  const way = ways[at] as Way;
  way.state = "closed";
  const all = [
    router.sandboxes.list(everything),
    router.sandboxes.create(wanted("box")),
    router.sandboxes.get({ name: "other" }, {}),
    router.volumes.list({}),
    router.volumes.create({ name: "data", labels: {}, owner: "ann" }),
    router.snapshots.list({ limit: 10 }),
    router.usage("ann"),
  ];
  for (const attempt of all) await refused(attempt, "unavailable");
  const reason = "the server does not answer";
  expect(await router.readiness()).toMatchObject({
    ready: false,
    checks: { [`server-${at}`]: { ok: false, reason } },
  });
  way.state = "open";
  expect(await router.readiness()).toMatchObject({ ready: true });
  way.state = "closed";
  expect(await namesIn(router)).toEqual(["box"]);
  expect(await router.readiness()).toMatchObject({
    ready: true,
    checks: { [`server-${at}`]: { ok: false } },
  });
});

test("what a key may have is not forgotten with a server that is away", async () => {
  const world = await ServersWorld.make();
  const { router, ways } = world.anotherOverWays({
    limitsOf: (owner) => (owner === "ann" ? { totalSandboxes: 2, volumes: 1, snapshots: 1 } : {}),
  });
  const box = await router.sandboxes.create(wanted("box", { desired: "running" }));
  await router.sandboxes.until(box.id, ({ settled }) => settled, within(20_000));
  const snapshot = (name: string, sandboxId: string) =>
    router.snapshots.create({ name, labels: {}, owner: "ann", sandboxId, force: false });
  const { id } = await snapshot("base", box.id);
  await router.snapshots.until(id, within(20_000));
  const volume = await router.volumes.create({ name: "data", labels: {}, owner: "ann" });
  expect(await router.volumes.list({})).toHaveLength(1);
  (ways[serverOf(box.id) ?? 0] as Way).state = "closed";
  const other = await router.sandboxes.create(wanted("other", { desired: "running" }));
  await router.sandboxes.until(other.id, ({ settled }) => settled, within(20_000));
  await refused(router.sandboxes.create(wanted("third")), "noCapacity");
  await refused(snapshot("second", other.id), "unavailable");
  await refused(router.snapshots.list({ limit: 10 }), "unavailable");
  for (const way of ways) way.state = "open";
  expect((await router.snapshots.list({ limit: 10 })).items.map(({ name }) => name)).toEqual(["base"]);
  (ways[serverOf(volume.id) ?? 0] as Way).state = "closed";
  await refused(router.volumes.create({ name: "more", labels: {}, owner: "ann" }), "unavailable");
  // Its name is free on all servers, as far as they are known, and no limit is to be looked at.
  await router.volumes.create({ name: "data", labels: {}, owner: "bob" });
  expect((await router.volumes.list({})).map(({ name }) => name)).toEqual(["data", "data"]);
  expect(await router.volumes.list({ owner: "ann" })).toMatchObject([{ name: "data", owner: "ann" }]);
});

test("a volume that was removed is in no list and takes no name when its server goes, whoever lists meanwhile", async () => {
  const random = randomFrom(seedFromEnvironment("SERVERS_SEED"));
  const world = await ServersWorld.make();
  const { router, ways } = world.anotherOverWays();
  for (let round = 0; round < 10; round++) {
    const { id } = await router.volumes.create({ name: "data", labels: {}, owner: "ann" });
    const scopes = [{}, { owner: "ann" }].slice(random.between(0, 1));
    for (const scope of scopes) await router.volumes.list(scope);
    // Lists are on their way while it goes.
    const lists = scopes.map((scope) => router.volumes.list(scope));
    await router.volumes.remove(id, { owner: "ann" });
    await Promise.all(lists);
    const way = ways[serverOf(id) ?? 0] as Way;
    way.state = "closed";
    for (const scope of scopes) expect([round, await router.volumes.list(scope)]).toEqual([round, []]);
    const { id: another } = await router.volumes.create({ name: "data", labels: {}, owner: "ann" });
    way.state = "open";
    await router.volumes.remove(another, { owner: "ann" });
  }
}, 60_000);
