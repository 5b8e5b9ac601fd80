import { expect, test } from "vitest";
import type {
  Snapshot,
  SnapshotOperation,
  WantedSnapshot,
} from "../../../../docker/gateway/src/sandboxes/snapshots";
import { type MakeWorld, refused, running, settled, type World, wanted, within } from "./world";

type Change = Partial<WantedSnapshot>;

const begin = ({ backend }: World, sandboxId: string, name: string, change: Change = {}) =>
  backend.snapshots.create({ name, labels: {}, owner: "ann", sandboxId, force: false, ...change });

/** The operation when it is over. */
async function taken(world: World, sandboxId: string, name: string, change: Change = {}) {
  const { id } = await begin(world, sandboxId, name, change);
  return world.backend.snapshots.until(id, within(20_000));
}

/** A snapshot that stands. */
async function made(world: World, sandboxId: string, name: string, change: Change = {}): Promise<Snapshot> {
  const operation = await taken(world, sandboxId, name, change);
  expect(operation).toMatchObject({ status: "succeeded", error: null });
  return operation.result as Snapshot;
}

const names = async ({ backend }: World, owner?: string) =>
  (await backend.snapshots.list({ owner, limit: 500 })).items.map(({ name }) => name);

const from = (name: string, snapshot: string) => wanted(name, { desired: "running", snapshot });

const succeeded = ({ status }: SnapshotOperation) => status === "succeeded";

/** Snapshots: names, places, what becomes of their sandboxes, and what a crash leaves. */
export function describeSnapshots(make: MakeWorld): void {
  test("one is there when its operation has succeeded, of a sandbox that runs and of one that is stopped", async () => {
    const world = await make();
    const { sandboxes, snapshots } = world.backend;
    const box = await running(world, "box");
    const one = await made(world, box.id, "one", { labels: { a: "b" } });
    expect(one).toMatchObject({ name: "one", owner: "ann", labels: { a: "b" }, sandboxId: box.id });
    expect((await sandboxes.get({ id: box.id }, {}))?.status).toBe("running");
    await sandboxes.want(box.id, "stopped");
    await settled(world, box.id);
    const two = await made(world, box.id, "two");
    expect((await sandboxes.get({ id: box.id }, {}))?.status).toBe("stopped");
    expect(await snapshots.list({ limit: 500 })).toEqual({ items: [one, two], more: false });
    expect(await snapshots.list({ limit: 1 })).toEqual({ items: [one], more: true });
    expect(await snapshots.list({ limit: 1, after: one })).toEqual({ items: [two], more: false });
    for (const called of [one.name, one.digest])
      expect(await snapshots.find({ name: called }, {})).toEqual(one);
    const usage = { snapshots: 2, snapshotBytes: one.sizeBytes + two.sizeBytes };
    expect(await world.backend.usage("ann")).toMatchObject(usage);
    await sandboxes.want(box.id, "removed");
    expect(await names(world)).toEqual(["one", "two"]);
    await refused(begin(world, box.id, "three"), "sandboxNotFound");
  });

  test("a name is one snapshot's, however many ask at once, and free as soon as that is removed or has failed", async () => {
    const world = await make();
    const { backend } = world;
    const { id } = await running(world, "box");
    for (let round = 0; round < 3; round++) {
      const attempts = Array.from({ length: 5 }, () => taken(world, id, "same"));
      const outcomes = await Promise.allSettled(attempts);
      const found = outcomes.flatMap((each) => (each.status === "fulfilled" ? [each.value] : []));
      expect(found.map(succeeded)).toEqual([true]);
      for (const attempt of attempts) await attempt.catch(() => refused(attempt, "snapshotNameTaken"));
      await backend.snapshots.remove(found[0]?.id ?? "", { owner: "ann" });
      expect(await names(world)).toEqual([]);
      await refused(backend.snapshots.remove(found[0]?.id ?? "", {}), "snapshotNotFound");
    }
    await world.captures("fail");
    const failed = await taken(world, id, "same");
    expect(failed).toMatchObject({ status: "failed", result: null, error: { kind: "runtimeFailed" } });
    expect(await backend.snapshots.operation(failed.id, {})).toEqual(failed);
    expect(await backend.snapshots.find({ name: "same" }, {})).toBeUndefined();
    await world.captures("well");
    await made(world, id, "same");
  });

  test("force takes the place of another, which stays where that fails", async () => {
    const world = await make();
    const { snapshots } = world.backend;
    const { id } = await running(world, "box");
    const first = await made(world, id, "same");
    await world.captures("fail");
    expect(await taken(world, id, "same", { force: true })).toMatchObject({ status: "failed" });
    expect(await snapshots.find({ name: "same" }, {})).toEqual(first);
    await world.captures("well");
    const second = await made(world, id, "same", { force: true });
    expect((await snapshots.list({ limit: 500 })).items).toEqual([second]);
    expect(await snapshots.find({ id: first.id }, {})).toBeUndefined();
    await made(world, id, "new", { force: true });
    expect(await names(world)).toEqual(["same", "new"]);
  });

  test("no more are made than there may be, however many ask at once; one that takes a place needs none", async () => {
    const world = await make({ limits: { snapshots: 2 }, beside: true });
    const { id } = await running(world, "box");
    const outcomes = await Promise.allSettled(["a", "b", "c", "d"].map((name) => taken(world, id, name)));
    expect(outcomes.filter(({ status }) => status === "fulfilled")).toHaveLength(2);
    await refused(begin(world, id, "more"), "noCapacity");
    const [name = ""] = await names(world);
    await made(world, id, name, { force: true });
    const found = await world.backend.snapshots.find({ name }, {});
    await world.backend.snapshots.remove(found?.id ?? "", {});
    await made(world, id, "more");
  });

  test("what is another's is not there, and takes no name", async () => {
    const world = await make();
    const { snapshots } = world.backend;
    const { id } = await running(world, "box");
    const anns = await made(world, id, "same");
    const bobs = await made(world, id, "same", { owner: "bob", force: true });
    for (const [own, other, owner] of [
      [anns, bobs, "ann"],
      [bobs, anns, "bob"],
    ] as const) {
      expect((await snapshots.list({ owner, limit: 500 })).items).toEqual([own]);
      for (const called of [{ id: other.id }, { name: other.digest }])
        expect(await snapshots.find(called, { owner })).toBeUndefined();
      expect(await snapshots.find({ name: "same" }, { owner })).toEqual(own);
      expect(await snapshots.operation(other.id, { owner })).toBeUndefined();
      await refused(snapshots.remove(other.id, { owner }), "snapshotNotFound");
    }
    expect((await snapshots.list({ limit: 500 })).items).toHaveLength(2);
  });

  test("what has no disk, or has failed, is not captured", async () => {
    const world = await make();
    const { sandboxes } = world.backend;
    const { id } = await sandboxes.create(wanted("never"));
    await refused(begin(world, id, "a"), "conflict");
    const { id: crashed } = await running(world, "crashed");
    await world.kill(crashed);
    const failed = await sandboxes.until(crashed, ({ status }) => status === "failed", within(20_000));
    expect(failed.status).toBe("failed");
    await refused(begin(world, crashed, "b"), "conflict");
    await refused(begin(world, "nothing", "c"), "sandboxNotFound");
  });

  test("what is desired of a sandbox meanwhile is done when its capture is over", async () => {
    const world = await make();
    const { sandboxes, snapshots } = world.backend;
    const { id } = await running(world, "box");
    await world.captures("hang");
    const one = await begin(world, id, "one");
    expect(await snapshots.until(one.id, within(300))).toMatchObject({ status: "in_progress", result: null });
    const two = await begin(world, id, "two");
    const stopping = await sandboxes.want(id, "stopped");
    expect(stopping.settled).toBe(false);
    expect(await snapshots.until(two.id, within(300))).toMatchObject({ status: "queued" });
    await world.captures("well");
    for (const operation of [one, two])
      expect(succeeded(await snapshots.until(operation.id, within(20_000)))).toBe(true);
    expect((await settled(world, id)).status).toBe("stopped");
  });

  test("a sandbox starts from one, which may be removed as soon as that is asked for", async () => {
    const world = await make();
    const { sandboxes, snapshots } = world.backend;
    const box = await running(world, "box");
    const { id } = await made(world, box.id, "one");
    await refused(sandboxes.create(wanted("later", { snapshot: id })), "invalidSpec");
    await world.boots("hang");
    const made2 = await sandboxes.create(from("from-it", id));
    await snapshots.remove(id, {});
    await world.boots("well");
    expect((await settled(world, made2.id)).status).toBe("running");
    await refused(sandboxes.create(from("late", id)), "snapshotNotFound");
    expect(await sandboxes.get({ name: "late" }, {})).toBeUndefined();
  });

  test("after a restart those that stand are there, and one that was cut off has failed and holds nothing", async () => {
    const world = await make();
    const { id } = await running(world, "box");
    const kept = await made(world, id, "kept", { labels: { "10": "a", "9": "b" } });
    await world.captures("hang");
    const replacing = await begin(world, id, "kept", { force: true });
    await world.backend.snapshots.until(replacing.id, within(300));
    await world.restart("crashed");
    await world.captures("well");
    const { snapshots } = world.backend;
    expect((await snapshots.list({ limit: 500 })).items).toEqual([kept]);
    expect(await snapshots.operation(replacing.id, { owner: "ann" })).toMatchObject({
      ...{ status: "failed", result: null, error: { kind: "runtimeFailed" } },
    });
    expect((await world.backend.usage()).snapshots).toBe(1);
    await world.restart("drained");
    expect((await world.backend.snapshots.list({ limit: 500 })).items).toEqual([kept]);
    await settled(world, id);
    await made(world, id, "kept", { force: true });
  });

  test("a server that is stopped lets what has begun finish, and begins nothing", async () => {
    const world = await make();
    const { id } = await running(world, "box");
    await world.captures("hang");
    const begun = await begin(world, id, "begun");
    await world.backend.snapshots.until(begun.id, within(300));
    const queued = await begin(world, id, "queued");
    const { snapshots } = world.backend;
    const restarted = world.restart("drained");
    await refused(begin({ ...world, backend: { ...world.backend, snapshots } }, id, "late"), "unavailable");
    await world.captures("well");
    await restarted;
    expect(await names(world)).toEqual(["begun"]);
    expect(await world.backend.snapshots.operation(queued.id, {})).toMatchObject({
      ...{ status: "failed", error: { kind: "unavailable" } },
    });
    expect((await settled(world, id)).status).toBe("running");
  });
}
