import fc from "fast-check";
import { expect, test } from "vitest";
import type { Sandbox } from "../../../../docker/gateway/src/sandboxes/backend";
import { forkNames } from "../../../../docker/gateway/src/sandboxes/forks";
import {
  ended,
  listed,
  type MakeWorld,
  refused,
  running,
  settled,
  type World,
  wanted,
  within,
} from "./world";

const fork = ({ backend }: World, id: string, names: string[], inherit: ("secrets" | "volumes")[] = []) =>
  backend.sandboxes.fork(id, { names, inherit: new Set(inherit) });

/** Forks that run. */
async function forked(world: World, id: string, names: string[]): Promise<Sandbox[]> {
  const begun = await fork(world, id, names);
  const forks = await Promise.all(begun.map((each) => settled(world, each.id)));
  for (const each of forks) expect(each).toMatchObject({ status: "running", settled: true, failure: null });
  return forks;
}

const named = async (world: World) => (await listed(world)).map(({ name }) => name).sort();

/** Forks: what they are of their source, all of them or none. */
export function describeForks(make: MakeWorld): void {
  test("each is what its source is, under a name and an id of its own, of one that runs and of one that is paused", async () => {
    const world = await make();
    const { sandboxes } = world.backend;
    const spec = {
      labels: { a: "b" },
      env: [{ key: "A", value: "b" }],
      lifecycle: { max_duration_secs: 60, idle_timeout_secs: 30 },
    };
    const source = await running(world, "source", { spec });
    for (const names of [["one"], ["two", "three"]]) {
      const forks = await forked(world, source.id, names);
      for (const [index, each] of forks.entries()) {
        const name = names[index] ?? "";
        expect(each).toMatchObject({ name, slug: name, owner: "ann", forkOf: source.id, paused: false });
        expect(each.spec).toEqual({ ...source.spec, name });
        expect(await sandboxes.get({ name }, { owner: "ann" })).toMatchObject({ id: each.id });
        expect(await sandboxes.get({ name }, { owner: "bob" })).toBeUndefined();
      }
      // The next ones are of one that is paused, which stays so.
      await sandboxes.want(source.id, "paused");
      await settled(world, source.id);
    }
    expect(await sandboxes.get({ id: source.id }, {})).toMatchObject({ paused: true, forkOf: null });
    expect(await named(world)).toEqual(["one", "source", "three", "two"]);
    expect(await world.backend.usage("ann")).toMatchObject({ total: 4, running: 4, memoryMib: 256, cpus: 4 });
    // They need it no more.
    await sandboxes.want(source.id, "removed");
    const { id } = (await sandboxes.get({ name: "two" }, {})) as Sandbox;
    await sandboxes.want(id, "stopped");
    expect(await settled(world, id)).toMatchObject({ status: "stopped" });
    await sandboxes.want(id, "running");
    expect(await settled(world, id)).toMatchObject({ status: "running", failure: null });
    await forked(world, id, ["of-a-fork"]);
  });

  test("all find room and names, or nothing is made", async () => {
    const any = fc.record({
      count: fc.integer({ min: 1, max: 6 }),
      sandboxes: fc.integer({ min: 1, max: 6 }),
      totalSandboxes: fc.integer({ min: 2, max: 6 }),
      memory: fc.integer({ min: 1, max: 6 }),
      taken: fc.boolean(),
    });
    await fc.assert(
      fc.asyncProperty(any, async ({ count, sandboxes, totalSandboxes, memory, taken }) => {
        const world = await make({
          limits: { sandboxes, totalSandboxes, memoryMib: memory * 64 },
          beside: true,
        });
        const { id } = await running(world, "source");
        const names = Array.from({ length: count }, (_, index) => `fork-${index}`);
        if (taken) await world.backend.sandboxes.create(wanted(names.at(-1) ?? ""));
        const before = await world.backend.usage();
        const fits =
          before.running + count <= Math.min(sandboxes, memory) && before.total + count <= totalSandboxes;
        if (fits && !taken) {
          await forked(world, id, names);
          expect(await world.backend.usage()).toMatchObject({ running: count + 1, total: count + 1 });
        } else {
          await refused(fork(world, id, names), taken ? "nameTaken" : "noCapacity");
          expect(await world.backend.usage()).toEqual(before);
          expect(await named(world)).toHaveLength(before.total);
        }
      }),
      { numRuns: 12 },
    );
  });

  test("however many ask at once, no more are made than there is room for", async () => {
    const world = await make({ limits: { sandboxes: 6 }, beside: true });
    const { id } = await running(world, "source");
    const attempts = ["a", "b", "c", "d"].map((name) => fork(world, id, [`${name}-1`, `${name}-2`]));
    const outcomes = await Promise.allSettled(attempts);
    expect(outcomes.filter(({ status }) => status === "fulfilled")).toHaveLength(2);
    for (const attempt of attempts) await attempt.catch(() => refused(attempt, "noCapacity"));
    for (const each of await listed(world)) expect((await settled(world, each.id)).status).toBe("running");
    expect(await world.backend.usage()).toMatchObject({ running: 5, total: 5 });
  });

  test("where one can't be made, nothing stays of any, and the source goes on", async () => {
    const world = await make();
    const { sandboxes } = world.backend;
    const { id } = await running(world, "source");
    await world.boots("fail");
    const begun = await fork(world, id, ["one", "two"]);
    for (const each of await Promise.all(begun.map((one) => ended(world, one.id))))
      expect(each).toMatchObject({ ended: true });
    expect(await named(world)).toEqual(["source"]);
    expect(await world.backend.usage()).toMatchObject({ total: 1, running: 1 });
    await world.boots("well");
    expect(await sandboxes.get({ id }, {})).toMatchObject({
      status: "running",
      settled: true,
      failure: null,
    });
    await forked(world, id, ["one", "two"]);
  });

  test("one that is removed meanwhile is not made, and the others are", async () => {
    const world = await make();
    const { sandboxes } = world.backend;
    const { id } = await running(world, "source");
    await world.boots("hang");
    const [one, two] = (await fork(world, id, ["one", "two"])) as [Sandbox, Sandbox];
    const waiting = ended(world, one.id);
    await sandboxes.want(one.id, "removed");
    await world.boots("well");
    expect(await settled(world, two.id)).toMatchObject({ status: "running" });
    await waiting;
    expect(await named(world)).toEqual(["source", "two"]);
    await world.boots("hang");
    const both = await fork(world, id, ["three", "four"]);
    const all = both.map((each) => ended(world, each.id));
    for (const each of both) await sandboxes.want(each.id, "removed");
    // Nobody waits for it any more.
    await Promise.all(all);
    await world.boots("well");
    expect(await world.backend.usage()).toMatchObject({ total: 2, running: 2 });
  });

  test("what a fork would share with its source is inherited only where that is said", async () => {
    const world = await make();
    const { volumes } = world.backend;
    await volumes.create({ name: "data", labels: {}, owner: "ann" });
    await volumes.create({ name: "disk", labels: {}, owner: "ann", capacityGib: 1 });
    const mount = (name: string) => [{ type: "named", name, guest: "/data" }];
    const entries = [
      { env_var: "A_KEY", value: "hush", allowed_hosts: [{ type: "exact", value: "a.example" }] },
    ];
    const { id: secret } = await running(world, "secret", { spec: { network: { secrets: { entries } } } });
    const { id: mounting } = await running(world, "mounting", { spec: { mounts: mount("data") } });
    const { id: disk } = await running(world, "disk", { spec: { mounts: mount("disk") } });
    await refused(fork(world, secret, ["a"]), "conflict");
    await refused(fork(world, secret, ["a"], ["volumes"]), "conflict");
    await refused(fork(world, mounting, ["a"], ["secrets"]), "conflict");
    await refused(fork(world, disk, ["a"], ["secrets", "volumes"]), "conflict");
    expect(await named(world)).toEqual(["disk", "mounting", "secret"]);
    const [a] = await fork(world, secret, ["a"], ["secrets"]);
    const [b] = await fork(world, mounting, ["b"], ["volumes"]);
    for (const each of [a, b]) expect((await settled(world, each?.id ?? "")).status).toBe("running");
    // A fork's own forks share them as well.
    await refused(fork(world, a?.id ?? "", ["c"]), "conflict");
    await refused(fork(world, b?.id ?? "", ["c"]), "conflict");
    await world.backend.sandboxes.want(mounting, "removed");
    const data = (await volumes.list({})).find(({ name }) => name === "data");
    await refused(volumes.remove(data?.id ?? "", {}), "conflict");
  });

  test("what is not up is not forked", async () => {
    const world = await make();
    const { sandboxes } = world.backend;
    const { id: never } = await sandboxes.create(wanted("never"));
    await refused(fork(world, never, ["a"]), "conflict");
    const { id } = await running(world, "box");
    await sandboxes.want(id, "stopped");
    await refused(fork(world, id, ["a"]), "conflict");
    await settled(world, id);
    await refused(fork(world, id, ["a"]), "conflict");
    await refused(fork(world, "00000000-0000-4000-8000-00000000000f", ["a"]), "sandboxNotFound");
    await sandboxes.want(id, "removed");
    await refused(fork(world, id, ["a"]), "sandboxNotFound");
    expect(await named(world)).toEqual(["never"]);
  });

  test("what is desired of its source meanwhile is done when the forks are made", async () => {
    const world = await make();
    const { sandboxes, snapshots } = world.backend;
    const { id } = await running(world, "source");
    await world.boots("hang");
    const [one] = await fork(world, id, ["one"]);
    await sandboxes.until(id, ({ settled: is }) => !is, within(10_000));
    const snapshot = { name: "s", labels: {}, owner: "ann", sandboxId: id, force: false };
    const operation = await snapshots.create(snapshot);
    expect((await sandboxes.want(id, "paused")).paused).toBe(false);
    await world.boots("well");
    expect(await settled(world, one?.id ?? "")).toMatchObject({ status: "running", paused: false });
    await snapshots.until(operation.id, within(20_000));
    expect(await settled(world, id)).toMatchObject({ status: "running", paused: true });
  });

  test("after a crash those are there that were made, and nothing of those that were not", async () => {
    const world = await make();
    const { id } = await running(world, "source");
    const made = await forked(world, id, ["one", "two"]);
    await world.boots("hang");
    const cut = await fork(world, id, ["three", "four"]);
    await world.backend.sandboxes.until(id, ({ settled: is }) => !is, within(10_000));
    await world.restart("crashed");
    await world.boots("well");
    expect(await named(world)).toEqual(["one", "source", "two"]);
    for (const each of cut) expect(await world.backend.sandboxes.get({ id: each.id }, {})).toBeUndefined();
    for (const each of made)
      expect(await settled(world, each.id)).toMatchObject({ status: "running", forkOf: id, failure: null });
    expect(await world.backend.usage()).toMatchObject({ running: 3 });
    await forked(world, made[0]?.id ?? "", ["three"]);
  });

  test("a server that is stopped makes none, and those that run are started again", async () => {
    const world = await make();
    const { id } = await running(world, "source");
    const [one] = await forked(world, id, ["one"]);
    const restarted = world.restart("drained");
    await refused(fork(world, id, ["late"]), "unavailable");
    await restarted;
    expect(await settled(world, one?.id ?? "")).toMatchObject({ status: "running", failure: null });
    expect(await named(world)).toEqual(["one", "source"]);
  });

  test("names that are made up are different, allowed, and tell the source", () => {
    fc.assert(
      fc.property(
        fc.stringMatching(/^[a-z][a-z0-9.-]{0,127}$/),
        fc.integer({ min: 1, max: 32 }),
        (source, count) => {
          const names = forkNames(source, count);
          expect(new Set(names).size).toBe(count);
          for (const name of names) {
            expect(wanted(name).spec.name).toBe(name);
            expect(source.startsWith(name.slice(0, name.lastIndexOf("-fork-")))).toBe(true);
          }
        },
      ),
    );
  });
}
