import fc from "fast-check";
import { expect, test } from "vitest";
import type { Sandbox } from "../../../../docker/gateway/src/sandboxes/backend";
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

const RUNS = { status: "running", paused: false };
const PAUSED = { status: "running", paused: true };

/** A sandbox that is paused. */
async function paused(world: World, name: string, change = {}): Promise<Sandbox> {
  const { id } = await running(world, name, change);
  await world.backend.sandboxes.want(id, "paused");
  const sandbox = await settled(world, id);
  expect(sandbox).toMatchObject({ ...PAUSED, settled: true, failure: null });
  return sandbox;
}

/** What can be asked for of a sandbox that is made, and what it is when that is all that was asked for. */
const OPERATIONS = ["pause", "resume", "start", "stop", "die"] as const;
type Operation = (typeof OPERATIONS)[number];
type Modelled = "running" | "paused" | "stopped" | "failed";

/** The state that an operation leads to; undefined where it is refused. */
function leadsTo(state: Modelled, operation: Operation): Modelled | undefined {
  const up = state === "running" || state === "paused";
  if (operation === "pause") return up ? "paused" : undefined;
  if (operation === "resume") return up ? "running" : undefined;
  if (operation === "start") return "running";
  if (operation === "die") return up ? "failed" : state;
  return up ? "stopped" : state;
}

/** Pauses: what becomes of a sandbox that is paused, by whatever is asked for then. */
export function describePauses(make: MakeWorld): void {
  test("one that is paused runs for all clients, and keeps its room", async () => {
    const world = await make({ limits: { sandboxes: 1 }, beside: true });
    const { sandboxes } = world.backend;
    const before = await running(world, "box");
    await sandboxes.want(before.id, "paused");
    const sandbox = await settled(world, before.id);
    const whole = (box: Sandbox): Sandbox => ({ ...box, spec: box.spec, version: 0 });
    expect(whole(sandbox)).toEqual({ ...whole(before), paused: true });
    expect(await sandboxes.get({ id: before.id }, {})).toMatchObject(PAUSED);
    expect(await listed(world)).toMatchObject([PAUSED]);
    expect(await world.backend.usage("ann")).toMatchObject({
      total: 1,
      running: 1,
      paused: 1,
      memoryMib: 64,
      cpus: 1,
    });
    expect(await world.backend.statuses()).toMatchObject({ running: 1, stopped: 0 });
    await refused(sandboxes.create(wanted("more", { desired: "running" })), "noCapacity");
    await refused(sandboxes.openAgent(before.id, within(5_000)), "conflict");
    await sandboxes.resume(before.id);
    expect(await settled(world, before.id)).toMatchObject({ ...RUNS, startedAt: before.startedAt });
    expect(await world.backend.usage()).toMatchObject({ running: 1, paused: 0 });
    (await sandboxes.openAgent(before.id, within(20_000))).destroy();
  });

  test("any row of requests and ends leads to what the last one is about, and no other request is taken", async () => {
    const world = await make();
    const { sandboxes } = world.backend;
    let boxes = 0;
    const rows = fc.array(fc.constantFrom(...OPERATIONS), { minLength: 1, maxLength: 7 });
    await fc.assert(
      fc.asyncProperty(rows, async (operations) => {
        const { id } = await running(world, `box-${boxes++}`);
        let state: Modelled = "running";
        for (const operation of operations) {
          const next = leadsTo(state, operation);
          const attempt =
            operation === "pause"
              ? sandboxes.want(id, "paused")
              : operation === "resume"
                ? sandboxes.resume(id)
                : operation === "die"
                  ? state === "running" || state === "paused"
                    ? world.kill(id)
                    : Promise.resolve()
                  : sandboxes.want(id, operation === "start" ? "running" : "stopped");
          if (next === undefined) await refused(attempt, "conflict");
          else await attempt;
          state = next ?? state;
          if (operation === "die")
            await sandboxes.until(
              id,
              ({ status }) => status === "failed" || status === "stopped",
              within(20_000),
            );
          const now = await settled(world, id);
          expect([operation, now.status, now.paused]).toEqual([
            ...[operation, state === "paused" ? "running" : state, state === "paused"],
          ]);
          const usage = await world.backend.usage();
          expect([usage.running, usage.paused]).toEqual([
            now.status === "running" ? 1 : 0,
            now.paused ? 1 : 0,
          ]);
        }
        const waiting = ended(world, id);
        await sandboxes.want(id, "removed");
        await waiting;
        expect(await world.backend.usage()).toMatchObject({ total: 0, running: 0, paused: 0 });
      }),
      { numRuns: 12 },
    );
  });

  test("the last wish counts, however fast they come", async () => {
    const world = await make();
    const { sandboxes } = world.backend;
    const { id } = await running(world, "box");
    const wish = fc.record({ pause: fc.boolean(), settle: fc.boolean() });
    await fc.assert(
      fc.asyncProperty(fc.array(wish, { minLength: 1, maxLength: 6 }), async (wishes) => {
        for (const { pause, settle } of wishes) {
          await (pause ? sandboxes.want(id, "paused") : sandboxes.resume(id));
          if (settle) await settled(world, id);
        }
        const last = wishes.at(-1)?.pause ? PAUSED : RUNS;
        expect(await settled(world, id)).toMatchObject({ ...last, failure: null });
      }),
      { numRuns: 10 },
    );
  });

  test("what fails leaves it as it was, says why, and may succeed later", async () => {
    const world = await make();
    const { sandboxes } = world.backend;
    const { id } = await running(world, "box");
    await world.pauses("fail");
    await sandboxes.want(id, "paused");
    expect(await settled(world, id)).toMatchObject({ ...RUNS, failure: { kind: "runtimeFailed" } });
    await world.pauses("well");
    await sandboxes.want(id, "paused");
    expect(await settled(world, id)).toMatchObject({ ...PAUSED, failure: null });
    await world.pauses("fail");
    await sandboxes.resume(id);
    expect(await settled(world, id)).toMatchObject({ ...PAUSED, failure: { kind: "runtimeFailed" } });
    await world.pauses("well");
    await sandboxes.resume(id);
    expect(await settled(world, id)).toMatchObject({ ...RUNS, failure: null });
  });

  test("what is not up is neither paused nor resumed, and nothing becomes of it", async () => {
    const world = await make();
    const { sandboxes } = world.backend;
    const refuses = async (id: string) => {
      await refused(sandboxes.want(id, "paused"), "conflict");
      await refused(sandboxes.resume(id), "conflict");
    };
    const { id: never } = await sandboxes.create(wanted("never"));
    await refuses(never);
    expect(await settled(world, never)).toMatchObject({ status: "created" });
    await world.boots("hang");
    const { id: boots } = await sandboxes.create(wanted("boots", { desired: "running" }));
    await refuses(boots);
    await world.boots("well");
    const { id } = await paused(world, "box");
    await sandboxes.want(id, "stopped");
    await refuses(id);
    expect(await settled(world, id)).toMatchObject({ status: "stopped", paused: false });
    await refuses(id);
    const nothing = "00000000-0000-4000-8000-00000000000f";
    await refused(sandboxes.want(nothing, "paused"), "sandboxNotFound");
    await refused(sandboxes.resume(nothing), "sandboxNotFound");
  });

  test("a pause or its end that hangs is cancelled by a removal", async () => {
    const world = await make();
    const { sandboxes } = world.backend;
    for (const before of [running, paused]) {
      const { id } = await before(world, "box");
      await world.pauses("hang");
      if (before === running) await sandboxes.want(id, "paused");
      else await sandboxes.resume(id);
      const waiting = ended(world, id);
      await sandboxes.want(id, "removed");
      expect(await waiting).toMatchObject({ ended: true });
      await world.pauses("well");
    }
    expect(await world.backend.usage()).toMatchObject({ total: 0, running: 0, paused: 0 });
  });

  test("whoever asks for its agent while it is resumed gets it, and no snapshot is made before", async () => {
    const world = await make();
    const { sandboxes, snapshots } = world.backend;
    const { id } = await paused(world, "box");
    const snapshot = { name: "one", labels: {}, owner: "ann", sandboxId: id, force: false };
    await refused(snapshots.create(snapshot), "conflict");
    const change = { policy: "no_restart" as const, secrets: [], secrets_remove: ["A_KEY"] };
    await refused(sandboxes.modify(id, change), "modificationRefused");
    await world.pauses("hang");
    await sandboxes.resume(id);
    expect(await sandboxes.get({ id }, {})).toMatchObject({ status: "starting", paused: false });
    const connecting = sandboxes.openAgent(id, within(20_000));
    await world.pauses("well");
    (await connecting).destroy();
    const operation = await snapshots.create(snapshot);
    expect(await snapshots.until(operation.id, within(20_000))).toMatchObject({ status: "succeeded" });
  });

  test("it is paused after a crash of the server, and runs after a stop of it", async () => {
    const world = await make();
    const { id } = await paused(world, "box");
    const { id: cut } = await running(world, "cut");
    await world.pauses("hang");
    await world.backend.sandboxes.want(cut, "paused");
    await world.restart("crashed");
    await world.pauses("well");
    expect(await settled(world, id)).toMatchObject(PAUSED);
    expect(await settled(world, cut)).toMatchObject({ ...RUNS, failure: null });
    const { sandboxes } = world.backend;
    await sandboxes.resume(id);
    expect(await settled(world, id)).toMatchObject(RUNS);
    await sandboxes.want(id, "paused");
    await settled(world, id);
    const drained = world.restart("drained");
    await refused(sandboxes.resume(id), "unavailable");
    await refused(sandboxes.want(cut, "paused"), "unavailable");
    await drained;
    // Its memory is gone: it was stopped cleanly, and has started again with its disk.
    expect(await settled(world, id)).toMatchObject({ ...RUNS, failure: null });
  });
}
