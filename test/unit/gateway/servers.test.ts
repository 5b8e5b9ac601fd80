import { describe, expect, test, vi } from "vitest";
import type { Sandbox } from "../../../docker/gateway/src/sandboxes/backend";
import { serverOf } from "../../../docker/gateway/src/sandboxes/ids";
import { refused, wanted, within } from "./backend-contract/world";
import { ServersWorld, type Way } from "./servers-world";

describe("a server that does not answer", () => {
  test("leaves its sandboxes in lists as they were, and all else goes on", async () => {
    const world = await ServersWorld.make();
    const { router, ways } = world.anotherOverWays();
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
  const { router, ways } = world.anotherOverWays();
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
    // What it costs does not grow with the volumes of others.
    const lists = world.worlds.map(({ backend }) => vi.spyOn(backend.volumes, "list"));
    for (const [server, name] of places)
      for (let turn = 0; turn < 4; turn++) {
        const { id } = await sandboxes.create(wanted(`${name}-${turn}`, mounting(name)));
        expect(serverOf(id)).toBe(server);
      }
    const error = await refused(sandboxes.create(wanted("both", mounting(...places.values()))), "conflict");
    for (const name of places.values()) expect(error.message).toContain(name);
    await refused(sandboxes.create(wanted("none", mounting("missing"))), "volumeNotFound");
    for (const list of lists) expect(list).not.toHaveBeenCalled();
    expect(await volumes.list({ owner: "bob" })).toEqual([]);
    for (const list of lists) expect(list.mock.calls.map(([scope]) => scope)).toEqual([{ owner: "bob" }]);
  });
});

test("a sandbox starts from a snapshot of before there was a router where that is", async () => {
  const world = await ServersWorld.make({}, { areNumbered: false });
  for (const [at, { backend }] of world.worlds.entries()) {
    const { id } = await backend.sandboxes.create(wanted(`box-${at}`, { desired: "running" }));
    await backend.sandboxes.until(id, ({ settled }) => settled, within(20_000));
    const wish = { name: `base-${at}`, labels: {}, owner: "ann", sandboxId: id, force: false };
    const { id: snapshot } = await backend.snapshots.create(wish);
    expect(serverOf(snapshot)).toBe(undefined);
    await backend.snapshots.until(snapshot, within(20_000));
    for (let turn = 0; turn < 4; turn++) {
      const change = { desired: "running", snapshot } as const;
      const made = await world.backend.sandboxes.create(wanted(`from-${at}-${turn}`, change));
      expect(await backend.sandboxes.get({ id: made.id }, {})).toMatchObject({ id: made.id });
    }
  }
  const unknown = { desired: "running", snapshot: "00000000-0000-4000-8000-000000000009" } as const;
  await refused(world.backend.sandboxes.create(wanted("none", unknown)), "snapshotNotFound");
}, 60_000);

test("servers that begin anew, in order or by a crash, are known again: nothing is missing, and nothing twice", async () => {
  const world = await ServersWorld.make();
  const { router } = world.anotherOverWays();
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
