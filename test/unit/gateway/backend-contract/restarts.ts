import fc from "fast-check";
import { expect, test } from "vitest";
import type { Sandbox } from "../../../../docker/gateway/src/sandboxes/backend";
import { ended, listed, type MakeWorld, refused, running, settled, wanted, within } from "./world";

/** What a stop refuses, and what is there after it, or after a crash. */
export function describeRestarts(make: MakeWorld): void {
  test("one that drains makes and starts nothing, and stops what runs in time", async () => {
    const world = await make();
    const { sandboxes } = world.backend;
    const rests = await sandboxes.create(wanted("rests"));
    const runs = [await running(world, "a"), await running(world, "b")];
    const deadline = Date.now() + 10_000;
    const drained = world.backend.drain(deadline);
    for (const desired of ["running", "stopped"] as const) {
      const error = await refused(sandboxes.create(wanted("late", { desired })), "unavailable");
      expect(error.options.retryAfterSeconds).toBeGreaterThan(0);
    }
    await refused(sandboxes.want(rests.id, "running"), "unavailable");
    // What is there is told, and what frees room goes on.
    expect(await listed(world)).toHaveLength(3);
    await sandboxes.want(rests.id, "removed");
    await drained;
    expect(Date.now()).toBeLessThanOrEqual(deadline);
    for (const { id } of runs)
      expect(await sandboxes.get({ id }, {})).toMatchObject({ status: "stopped", failure: null });
    expect(await sandboxes.get({ name: "late" }, {})).toBeUndefined();
  });

  test("after a drain what ran runs again, and nothing else", async () => {
    const world = await make();
    const runs = await running(world, "runs");
    const rests = await running(world, "rests");
    await world.backend.sandboxes.want(rests.id, "stopped");
    await settled(world, rests.id);
    const short = await running(world, "short", { spec: { lifecycle: { ephemeral: true } } });
    await world.restart("drained");
    expect(await settled(world, runs.id)).toMatchObject({ name: "runs", status: "running", failure: null });
    expect(await settled(world, rests.id)).toMatchObject({ status: "stopped" });
    const left = await world.backend.sandboxes.get({ id: short.id }, {});
    expect(left?.status ?? "stopped").toBe("stopped");
    (await world.backend.sandboxes.openAgent(runs.id, within(20_000))).destroy();
  });

  test("what a client stops during a drain stays stopped after it", async () => {
    const world = await make();
    const runs = await running(world, "runs");
    const [early, late] = [await running(world, "early"), await running(world, "late")];
    const drained = world.backend.drain(Date.now() + 10_000);
    await world.backend.sandboxes.want(early.id, "stopped");
    await drained;
    await world.backend.sandboxes.want(late.id, "stopped");
    await world.restart("drained");
    for (const { id } of [early, late]) expect(await settled(world, id)).toMatchObject({ status: "stopped" });
    expect(await settled(world, runs.id)).toMatchObject({ status: "running" });
  });

  test("whatever was answered is there after a restart, as it was", async () => {
    const kept = fc.record({
      owner: fc.constantFrom("ann", "bob", null),
      state: fc.constantFrom("created", "running", "stopped"),
      labels: fc.dictionary(fc.stringMatching(/^[a-z]{1,5}$/), fc.string({ maxLength: 5 }), { maxKeys: 3 }),
      volume: fc.boolean(),
    });
    const all = fc.array(kept, { minLength: 1, maxLength: 4 });
    await fc.assert(
      fc.asyncProperty(all, fc.constantFrom("drained", "crashed"), async (list, how) => {
        const world = await make();
        for (const [index, { owner, state, labels, volume }] of list.entries()) {
          const name = `box-${index}`;
          if (volume) await world.backend.volumes.create({ name, labels, owner });
          const mounts = volume ? [{ type: "named", name, guest: "/data" }] : [];
          const change = { owner, spec: { labels, mounts } };
          if (state === "created") await world.backend.sandboxes.create(wanted(name, change));
          else {
            const { id } = await running(world, name, change);
            if (state === "stopped") await world.backend.sandboxes.want(id, "stopped");
            await settled(world, id);
          }
        }
        const seen = async () => ({
          // A spec may be made when it is asked for, and a version is of the process.
          boxes: (await listed(world)).map((box): Sandbox => ({ ...box, spec: box.spec, version: 0 })),
          volumes: await world.backend.volumes.list({}),
          usage: await world.backend.usage(),
          statuses: await world.backend.statuses(),
        });
        const before = await seen();
        expect(before.boxes).toHaveLength(list.length);
        await world.restart(how);
        for (const { id } of before.boxes) await settled(world, id);
        const after = await seen();
        // When it last ran: a drain stops and starts it, and a crash may be before the end of a stop is written down.
        const times = ({ startedAt, stoppedAt, ...box }: Sandbox) => ({
          ...box,
          times: [startedAt, stoppedAt].map((time) => time !== null),
        });
        expect(after.boxes.map(times)).toEqual(before.boxes.map(times));
        expect({ ...after, boxes: [] }).toEqual({ ...before, boxes: [] });
      }),
      { numRuns: 6 },
    );
  });

  test("of a boot that a crash cut off its client is told, if it knows of the sandbox; else nothing stays", async () => {
    const world = await make();
    const { sandboxes } = world.backend;
    await world.boots("hang");
    const told = await sandboxes.create(wanted("told", { desired: "running" }));
    await sandboxes.answered(told.id);
    const untold = await sandboxes.create(wanted("untold", { desired: "running" }));
    await world.restart("crashed");
    const after = world.backend.sandboxes;
    expect(await after.get({ id: told.id }, {})).toMatchObject({
      status: "failed",
      failure: { kind: "runtimeFailed" },
    });
    expect(await after.get({ id: untold.id }, {})).toBeUndefined();
    await after.create(wanted("untold"));
    await world.boots("well");
    await after.want(told.id, "running");
    expect(await settled(world, told.id)).toMatchObject({ status: "running", failure: null });
  });

  test("a removal of one whose boot was under way holds over a crash", async () => {
    const world = await make();
    await world.boots("hang");
    const { id } = await world.backend.sandboxes.create(wanted("box", { desired: "running" }));
    await world.backend.sandboxes.answered(id);
    await world.backend.sandboxes.want(id, "removed");
    await world.restart("crashed");
    expect(await world.backend.sandboxes.get({ id }, {})).toBeUndefined();
    expect(await listed(world)).toEqual([]);
    await refused(world.backend.sandboxes.want(id, "stopped"), "sandboxNotFound");
    expect(await world.backend.usage()).toMatchObject({ total: 0, running: 0 });
  });

  test("a removal that was answered holds, whatever was still to be done", async () => {
    const world = await make();
    const { id } = await running(world, "box");
    await world.backend.sandboxes.want(id, "removed");
    const volume = await world.backend.volumes.create({ name: "data", labels: {}, owner: "ann" });
    await world.backend.volumes.remove(volume.id, {});
    await world.restart("crashed");
    expect(await world.backend.sandboxes.get({ id }, {})).toBeUndefined();
    expect(await world.backend.volumes.list({})).toEqual([]);
    await ended(world, id).catch((error) => refused(Promise.reject(error), "sandboxNotFound"));
    expect(await world.backend.usage()).toMatchObject({ total: 0, running: 0, memoryMib: 0, volumes: 0 });
  });
}
