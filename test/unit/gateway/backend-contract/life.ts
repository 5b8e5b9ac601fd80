import fc from "fast-check";
import { expect, test } from "vitest";
import type { Desired } from "../../../../docker/gateway/src/sandboxes/states";
import { ended, type MakeWorld, refused, running, settled, type World, wanted, within } from "./world";

/** Create, want and until: what a sandbox is to be, and what becomes of it. */
export function describeLife(make: MakeWorld): void {
  test("a sandbox that is not to run is there, and nothing is under way", async () => {
    const { backend } = await make();
    const made = await backend.sandboxes.create(wanted("box", { spec: { labels: { a: "b" } } }));
    expect(made).toMatchObject({ name: "box", slug: "box", owner: "ann", status: "created", failure: null });
    expect(made).toMatchObject({ settled: true, ended: false, ephemeral: false, startedAt: null });
    expect(made.spec?.labels).toEqual({ a: "b" });
    for (const reference of [{ id: made.id }, { name: "box" }])
      expect(await backend.sandboxes.get(reference, {})).toMatchObject({ id: made.id, status: "created" });
    expect(await backend.usage("ann")).toMatchObject({ total: 1, running: 0, memoryMib: 0, cpus: 0 });
  });

  test("one that is to run takes its room at once, and runs", async () => {
    const world = await make();
    const made = await world.backend.sandboxes.create(wanted("box", { desired: "running" }));
    expect(await world.backend.usage("ann")).toMatchObject({ total: 1, running: 1, memoryMib: 64, cpus: 1 });
    const runs = await settled(world, made.id);
    expect(runs).toMatchObject({ id: made.id, status: "running", failure: null, stoppedAt: null });
    expect(Date.parse(runs.startedAt ?? "")).toBeGreaterThanOrEqual(Date.parse(made.createdAt));
    expect(await world.backend.sandboxes.resolve(made.id)).toMatchObject({
      resolved: { reference: "starter", vcpus: 1, memoryMib: 64 },
    });
    await world.backend.sandboxes.want(made.id, "stopped");
    const stopped = await settled(world, made.id);
    expect(stopped).toMatchObject({ status: "stopped", ended: false, failure: null });
    expect(Date.parse(stopped.stoppedAt ?? "")).toBeGreaterThanOrEqual(Date.parse(runs.startedAt ?? ""));
    expect(await world.backend.usage("ann")).toMatchObject({ total: 1, running: 0, memoryMib: 0, cpus: 0 });
  });

  test("a sandbox is as it was as long as its version is", async () => {
    const world = await make();
    const { sandboxes } = world.backend;
    const seen = new Map<number, string>();
    const look = async () => {
      const { items } = await sandboxes.list({ labels: {}, limit: 10 });
      const ones = await Promise.all(items.map(({ id }) => sandboxes.get({ id }, {})));
      for (const sandbox of [...items, ...ones.filter((one) => one !== undefined)]) {
        const { settled: _settled, ended: _ended, version, ...rest } = sandbox;
        const now = JSON.stringify({ ...rest, spec: sandbox.spec });
        expect(seen.get(version) ?? now).toBe(now);
        seen.set(version, now);
      }
      return items.map(({ version }) => version);
    };
    const { id } = await sandboxes.create(wanted("box"));
    await sandboxes.create(wanted("other"));
    const made = await look();
    expect(await look()).toEqual(made);
    for (const desired of ["running", "stopped", "running"] as const) {
      await sandboxes.want(id, desired);
      await look();
      await settled(world, id);
      await look();
      await sandboxes.resolve(id);
      expect((await look())[1]).toBe(made[1]);
    }
    await sandboxes.want(id, "removed");
    expect(await look()).toEqual(made.slice(1));
    expect(seen.size).toBeGreaterThan(6);
  });

  test("a name is one sandbox's, however many ask at once", async () => {
    const world = await make();
    const attempts = Array.from({ length: 8 }, () => world.backend.sandboxes.create(wanted("one")));
    const outcomes = await Promise.allSettled(attempts);
    expect(outcomes.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
    for (const attempt of attempts) await attempt.catch(() => refused(attempt, "nameTaken"));
    expect((await world.backend.usage()).total).toBe(1);
  });

  test("what finds no room takes no name, however many ask at once", async () => {
    const world = await make({ limits: { sandboxes: 2 } });
    const { sandboxes } = world.backend;
    const names = ["a", "b", "c", "d", "e", "f"];
    const outcomes = await Promise.allSettled(
      names.map((name) => sandboxes.create(wanted(name, { desired: "running" }))),
    );
    const without = names.filter((_, index) => outcomes[index]?.status === "rejected");
    expect(without).toHaveLength(4);
    expect(await world.backend.usage()).toMatchObject({ total: 2, running: 2 });
    await refused(sandboxes.create(wanted("more", { desired: "running" })), "noCapacity");
    for (const name of without) expect(await sandboxes.get({ name }, {})).toBeUndefined();
    const rests = await sandboxes.create(wanted(without[0] ?? ""));
    await refused(sandboxes.want(rests.id, "running"), "noCapacity");
    expect(await sandboxes.get({ id: rests.id }, {})).toMatchObject({ status: "created", settled: true });
  });

  test("one that no sandbox may be as large as is refused as a spec", async () => {
    const { backend } = await make({ limits: { sandboxMemoryMib: 128 } });
    const large = wanted("large", { spec: { resources: { memory_mib: 129 } } });
    await refused(backend.sandboxes.create(large), "invalidSpec");
    expect((await backend.usage()).total).toBe(0);
  });

  test("of a first boot that fails nothing stays, unless its client was told of the sandbox", async () => {
    const world = await make();
    const { sandboxes } = world.backend;
    await world.boots("fail");
    const { id } = await sandboxes.create(wanted("box", { desired: "running" }));
    // Waited for once: who asks when it is over finds nothing.
    const failed = await ended(world, id);
    expect(failed.failure).toMatchObject({ kind: "runtimeFailed", message: expect.stringMatching(/./) });
    expect(failed).toMatchObject({ ended: true });
    expect(await sandboxes.get({ id }, {})).toBeUndefined();
    expect(await world.backend.usage()).toMatchObject({ total: 0, running: 0, memoryMib: 0 });

    await world.boots("hang");
    const told = await sandboxes.create(wanted("box", { desired: "running" }));
    await sandboxes.answered(told.id);
    await world.boots("fail");
    expect(await settled(world, told.id)).toMatchObject({ status: "failed", ended: false });
    await refused(sandboxes.create(wanted("box")), "nameTaken");
    await world.boots("well");
    await sandboxes.want(told.id, "running");
    expect(await settled(world, told.id)).toMatchObject({ status: "running", failure: null });
  });

  test("a start that fails leaves it failed, and the next one may succeed", async () => {
    const world = await make();
    const { id } = await running(world, "box");
    await world.backend.sandboxes.want(id, "stopped");
    await settled(world, id);
    await world.boots("fail");
    await world.backend.sandboxes.want(id, "running");
    expect(await settled(world, id)).toMatchObject({ status: "failed", failure: { kind: "runtimeFailed" } });
    expect(await world.backend.usage()).toMatchObject({ total: 1, running: 0 });
    await world.boots("well");
    await world.backend.sandboxes.want(id, "running");
    expect(await settled(world, id)).toMatchObject({ status: "running", failure: null });
  });

  test("the last wish counts, and the same again changes nothing", async () => {
    const world = await make();
    const { sandboxes } = world.backend;
    const { id } = await running(world, "box");
    const wish = fc.constantFrom<Desired>("running", "stopped");
    const wishes = fc.array(fc.record({ desired: wish, settle: fc.boolean() }), {
      minLength: 1,
      maxLength: 6,
    });
    await fc.assert(
      fc.asyncProperty(wishes, async (list) => {
        for (const { desired, settle } of list) {
          await Promise.all([sandboxes.want(id, desired), sandboxes.want(id, desired)]);
          if (settle) await settled(world, id);
        }
        const last = await settled(world, id);
        expect(last).toMatchObject({ status: list.at(-1)?.desired, failure: null, ended: false });
        await sandboxes.want(id, last.status as Desired);
        expect(await settled(world, id)).toEqual(last);
      }),
      { numRuns: 8 },
    );
  });

  test("no wish takes a removal back, whatever is under way", async () => {
    const world = await make();
    const { sandboxes } = world.backend;
    const wish = fc.record({ desired: fc.constantFrom<Desired>("running", "stopped"), settle: fc.boolean() });
    const wishes = (minLength: number) => fc.array(wish, { minLength, maxLength: 3 });
    let runs = 0;
    await fc.assert(
      fc.asyncProperty(wishes(0), wishes(1), fc.boolean(), async (before, after, atOnce) => {
        const { id } = await sandboxes.create(wanted(`box-${runs++}`));
        for (const { desired, settle } of before) {
          await sandboxes.want(id, desired);
          if (settle) await settled(world, id);
        }
        const waiting = ended(world, id);
        const removed = sandboxes.want(id, "removed");
        if (!atOnce) await removed;
        for (const { desired, settle } of after) {
          await refused(sandboxes.want(id, desired), "sandboxNotFound");
          if (settle) await settled(world, id).catch(() => undefined);
        }
        await removed;
        expect(await waiting).toMatchObject({ ended: true });
        expect(await sandboxes.get({ id }, {})).toBeUndefined();
        expect(await world.backend.usage()).toMatchObject({ total: 0, running: 0 });
      }),
      { numRuns: 12 },
    );
  });

  test("what is removed is no more for everybody, and its name is free", async () => {
    const world = await make();
    const { sandboxes } = world.backend;
    for (const runs of [true, false]) {
      const { id } = runs ? await running(world, "box") : await sandboxes.create(wanted("box"));
      await sandboxes.want(id, "removed");
      expect(await sandboxes.get({ id }, {})).toBeUndefined();
      expect(await sandboxes.get({ name: "box" }, {})).toBeUndefined();
      expect((await sandboxes.list({ labels: {}, limit: 10 })).items).toEqual([]);
      const next = await sandboxes.create(wanted("box"));
      expect(next.id).not.toBe(id);
      // Once nothing of it is left, nothing is known of it either.
      await sandboxes.want(id, "removed").catch((error) => refused(Promise.reject(error), "sandboxNotFound"));
      await refused(sandboxes.want(id, "running"), "sandboxNotFound");
      await sandboxes.want(next.id, "removed");
    }
  });

  test("a removal cancels a boot", async () => {
    const world = await make();
    await world.boots("hang");
    const { id } = await world.backend.sandboxes.create(wanted("box", { desired: "running" }));
    const waiting = ended(world, id);
    await world.backend.sandboxes.want(id, "removed");
    expect(await waiting).toMatchObject({ ended: true });
    expect(await world.backend.usage()).toMatchObject({ total: 0, running: 0 });
  });

  test("until resolves with the first state that holds, and its end cancels nothing", async () => {
    const world = await make();
    const { sandboxes } = world.backend;
    await world.boots("hang");
    const { id } = await sandboxes.create(wanted("box", { desired: "running" }));
    expect(await sandboxes.until(id, () => true, within(20_000))).toMatchObject({ status: "starting" });
    expect(await sandboxes.until(id, () => false, AbortSignal.abort())).toMatchObject({ status: "starting" });
    expect(await sandboxes.until(id, () => false, within(30))).toMatchObject({ settled: false });
    const seen: string[] = [];
    const waiting = sandboxes.until(
      id,
      ({ status }) => seen.push(status) < 0 || status !== "starting",
      within(20_000),
    );
    await world.boots("well");
    expect(await waiting).toMatchObject({ status: "running" });
    expect(seen.filter((status) => status !== "starting")).toEqual(["running"]);
    const forEver = sandboxes.until(id, () => false, within(20_000));
    await sandboxes.want(id, "removed");
    expect(await forEver).toMatchObject({ ended: true });
  });

  test("a microVM that ends by itself has failed, for whoever waits and for whoever asks; it starts again", async () => {
    const world = await make();
    const { sandboxes } = world.backend;
    const { id } = await running(world, "box");
    const waiting = sandboxes.until(id, ({ status }) => status !== "running", within(20_000));
    await world.kill(id);
    expect(await waiting).toMatchObject({ status: "failed", settled: true, ended: false });
    expect(await world.backend.usage()).toMatchObject({ total: 1, running: 0 });
    await sandboxes.want(id, "running");
    expect(await settled(world, id)).toMatchObject({ status: "running", failure: null });
    await world.kill(id);
    await sandboxes.want(id, "running");
    expect(await settled(world, id)).toMatchObject({ status: "running", failure: null });
  });

  test("an ephemeral one goes when it ends, and answers `stopped` for a while", async () => {
    const world = await make();
    const { sandboxes } = world.backend;
    const { id } = await running(world, "short", { spec: { lifecycle: { ephemeral: true } } });
    expect(await world.backend.usage()).toMatchObject({ running: 1, ephemeralRunning: 1 });
    await sandboxes.want(id, "stopped");
    const stopped = await sandboxes.until(id, ({ status }) => status === "stopped", within(20_000));
    expect(stopped).toMatchObject({ ephemeral: true, failure: null });
    expect(await sandboxes.get({ id }, {})).toMatchObject({ id, status: "stopped" });
    expect(await gone(world, "short")).toBe(true);
    expect(await world.backend.usage()).toMatchObject({ total: 0, running: 0, ephemeralRunning: 0 });
  });

  test("secrets are removed from what is made; nothing else about it changes, and a plan changes nothing", async () => {
    const world = await make();
    const { sandboxes } = world.backend;
    const entries = ["A_KEY", "B_KEY"].map((env_var) => ({
      ...{ env_var, value: "hush", allowed_hosts: [{ type: "exact", value: "a.example" }] },
    }));
    const { id } = await running(world, "box", { spec: { network: { secrets: { entries } } } });
    const before = await sandboxes.get({ id }, {});
    const change = { policy: "no_restart" as const, secrets: [], secrets_remove: ["A_KEY", "NONE"] };
    for (const applied of [false, true]) {
      const plan = await (applied ? sandboxes.modify(id, change) : sandboxes.planModification(id, change));
      expect(plan).toMatchObject({ applied, policy: "no_restart", conflicts: [] });
      expect(plan.changes).toMatchObject([{ name: "A_KEY", change: "removed" }]);
    }
    expect(await sandboxes.modify(id, change)).toMatchObject({ applied: true, changes: [] });
    expect(await sandboxes.get({ id }, {})).toEqual(before);
    const unmade = await sandboxes.create(wanted("unmade"));
    await refused(sandboxes.modify(unmade.id, change), "modificationRefused");
    await world.boots("hang");
    await sandboxes.want(unmade.id, "running");
    await refused(sandboxes.modify(unmade.id, change), "modificationInProgress");
  });

  test("of what is not there every method says so", async () => {
    const { backend } = await make();
    const { sandboxes } = backend;
    const id = "00000000-0000-4000-8000-00000000000f";
    expect(await sandboxes.get({ id }, {})).toBeUndefined();
    expect(await sandboxes.get({ name: "none" }, {})).toBeUndefined();
    expect(await sandboxes.resolve(id)).toBeUndefined();
    for (const desired of ["running", "stopped", "removed"] as const)
      await refused(sandboxes.want(id, desired), "sandboxNotFound");
    await refused(
      sandboxes.until(id, () => true, within(1_000)),
      "sandboxNotFound",
    );
    await refused(sandboxes.openAgent(id, within(1_000)), "sandboxNotFound");
    const change = { policy: "no_restart" as const, secrets: [], secrets_remove: ["A_KEY"] };
    await refused(sandboxes.planModification(id, change), "sandboxNotFound");
    await refused(sandboxes.modify(id, change), "sandboxNotFound");
    await sandboxes.answered(id);
  });
}

/** Whether a name is free again: the rest of what was done follows the answer. */
async function gone(world: World, name: string): Promise<boolean> {
  for (let tries = 0; tries < 200; tries++) {
    const { items } = await world.backend.sandboxes.list({ labels: {}, limit: 10 });
    if (!items.some((each) => each.name === name) && (await world.backend.usage()).total === 0) return true;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return false;
}
