import { describe, expect, test } from "vitest";
import { ServersBackend } from "../../../docker/gateway/src/backends/servers/backend";
import { Server, Servers } from "../../../docker/gateway/src/backends/servers/server";
import { ServiceError } from "../../../docker/gateway/src/errors";
import type { Sandbox } from "../../../docker/gateway/src/sandboxes/backend";
import type { MirroredBackend } from "../../../docker/gateway/src/sandboxes/changes";
import { serverOf } from "../../../docker/gateway/src/sandboxes/ids";
import { randomFrom, seedFromEnvironment } from "../../harness/random";
import { listed, refused, wanted } from "./backend-contract/world";
import { ServersWorld } from "./servers-world";

/** What can become of the way to a server. */
type Way = { state: "open" | "closed" | "silent" | "lost answers" };

/** Nothing is told of changes. */
async function* unheard(): AsyncGenerator<never> {}

/** What is found at each moment, behind a way that may be closed, or on which answers are lost whose requests arrived. */
function behind<T extends object>(find: () => T, way: Way): T {
  return new Proxy({} as T, {
    get(_, key) {
      const part = (find() as Record<PropertyKey, unknown>)[key];
      if (typeof part === "object" && part !== null)
        return behind(() => (find() as Record<PropertyKey, object>)[key] as object, way);
      if (typeof part !== "function") return part;
      if (key === "watchChanges" && way.state !== "open") return unheard;
      return (...args: unknown[]) => {
        const away = (uncertain: boolean) =>
          Promise.reject(new ServiceError("unavailable", "the server does not answer", { uncertain }));
        if (way.state === "closed") return away(false);
        if (way.state === "silent") return new Promise(() => undefined);
        const answer = part.apply(find(), args);
        return way.state === "open" ? answer : Promise.resolve(answer).then(() => away(true));
      };
    },
  });
}

/** A router before the servers of a world, with a way to each. */
function routerOf({ worlds, names }: ServersWorld): { router: ServersBackend; ways: Way[] } {
  const ways = worlds.map((): Way => ({ state: "open" }));
  const servers = worlds.map(
    (each, number) =>
      new Server(
        number,
        behind<MirroredBackend>(() => each.backend, ways[number] as Way),
      ),
  );
  return { router: new ServersBackend({ servers: new Servers(servers), names, namesPerOwner: true }), ways };
}

describe("names", () => {
  test("1,000 creates of 100 names at once, through two routers, make one of each", async () => {
    const world = await ServersWorld.make({ limits: { totalSandboxes: 3_000 } });
    const routers = [world.backend, world.another()];
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
    const routers = [world.backend, world.another()];
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
    const { router, ways } = routerOf(world);
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

describe("a server that does not answer", () => {
  test("leaves its sandboxes in lists as they were, and all else goes on", async () => {
    const world = await ServersWorld.make();
    const { router, ways } = routerOf(world);
    const made: Sandbox[] = [];
    for (let at = 0; at < 12; at++) made.push(await router.sandboxes.create(wanted(`box-${at}`)));
    const on = (number: number) => made.filter(({ id }) => serverOf(id) === number);
    const names = async () =>
      (await router.sandboxes.list({ labels: {}, limit: 50 })).items.map(({ name }) => name);
    const before = await names();
    expect(before).toHaveLength(12);
    (ways[1] as Way).state = "closed";
    expect(await names()).toEqual(before);
    expect((await router.usage()).total).toBe(12);
    expect(await router.readiness()).toMatchObject({ ready: true, checks: { "server-1": { ok: false } } });
    for (const { id } of on(1)) {
      await refused(router.sandboxes.want(id, "stopped"), "unavailable");
      await refused(router.sandboxes.get({ id }, {}), "unavailable");
    }
    for (const { id, name } of [...on(0), ...on(2)]) {
      expect(await router.sandboxes.get({ id }, {})).toMatchObject({ name });
      expect(await router.sandboxes.get({ name }, {})).toMatchObject({ id });
    }
    for (let at = 12; at < 24; at++) {
      const { id } = await router.sandboxes.create(wanted(`box-${at}`));
      expect(serverOf(id)).not.toBe(1);
    }
    // Nobody knows whether one of its own has the name by now.
    await refused(router.sandboxes.create(wanted(on(1)[0]?.name ?? "")), "nameTaken", "unavailable");
    (ways[1] as Way).state = "open";
    expect(await names()).toHaveLength(24);
  });
});

test("a server that is silent is waited for once, and everything else goes on", async () => {
  const world = await ServersWorld.make();
  const { router, ways } = routerOf(world);
  for (let at = 0; at < 6; at++) await router.sandboxes.create(wanted(`box-${at}`));
  await router.volumes.create({ name: "data", labels: {}, owner: "ann" });
  const seen = async () => ({
    names: (await router.sandboxes.list({ labels: {}, limit: 50 })).items.map(({ name }) => name),
    volumes: (await router.volumes.list({})).map(({ name }) => name),
    total: (await router.usage()).total,
    sandboxes: (await router.limits()).sandboxes,
  });
  const before = await seen();
  (ways[2] as Way).state = "silent";
  // So often that no wait for each would end within the time of a test.
  for (let turn = 0; turn < 100; turn++) expect(await seen()).toEqual(before);
  for (let at = 6; at < 12; at++)
    expect(serverOf((await router.sandboxes.create(wanted(`box-${at}`))).id)).not.toBe(2);
  const { ready, checks } = await router.readiness();
  expect([ready, checks["server-2"]?.ok]).toEqual([true, false]);
}, 60_000);

describe("placement", () => {
  test("spreads what runs by what it was promised, ten per cent apart at most, and fills every server", async () => {
    const world = await ServersWorld.make({ limits: { memoryMib: 3 * 640, sandboxes: 300 } });
    const sizes = Array.from({ length: 30 }, (_, at) => wanted(`box-${at}`, { desired: "running" }));
    await Promise.all(sizes.map((each) => world.backend.sandboxes.create(each)));
    for (const { backend } of world.worlds) expect((await backend.usage()).memoryMib).toBe(640);
    await refused(world.backend.sandboxes.create(wanted("more", { desired: "running" })), "noCapacity");
  }, 60_000);

  test("goes where the volumes are, and says where that is more than one place", async () => {
    const world = await ServersWorld.make();
    const { sandboxes, volumes } = world.backend;
    const places = new Map<number | undefined, string>();
    for (let at = 0; places.size < 2; at++) {
      const { id } = await volumes.create({ name: `data-${at}`, labels: {}, owner: "ann" });
      places.set(serverOf(id), `data-${at}`);
    }
    const mounting = (...names: string[]) => ({
      spec: { mounts: names.map((name) => ({ type: "named", name, guest: `/${name}` })) },
    });
    for (const [server, name] of places)
      for (let turn = 0; turn < 4; turn++) {
        const { id } = await sandboxes.create(wanted(`${name}-${turn}`, mounting(name)));
        expect(serverOf(id)).toBe(server);
      }
    const error = await refused(sandboxes.create(wanted("both", mounting(...places.values()))), "conflict");
    for (const name of places.values()) expect(error.message).toContain(name);
    await refused(sandboxes.create(wanted("none", mounting("missing"))), "volumeNotFound");
  });
});

test("servers that begin anew, in order or by a crash, are known again: nothing is missing, and nothing twice", async () => {
  const world = await ServersWorld.make();
  const { router } = routerOf(world);
  const made = new Map<string, string>();
  for (let round = 0; round < 4; round++) {
    const { id, name } = await router.sandboxes.create(wanted(`box-${round}`));
    made.set(id, name);
    await router.sandboxes.list({ labels: {}, limit: 10 });
    const gone = [...made.keys()][0];
    if (round % 2 && gone) {
      await router.sandboxes.want(gone, "removed");
      made.delete(gone);
    }
    await Promise.all(world.worlds.map((each) => each.restart(round % 2 ? "drained" : "crashed")));
    const { items } = await router.sandboxes.list({ labels: {}, limit: 10 });
    expect(new Map(items.map((each) => [each.id, each.name]))).toEqual(made);
  }
}, 60_000);
