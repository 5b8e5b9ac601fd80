import { expect, test } from "vitest";
import type { Volume } from "../../../../docker/gateway/src/sandboxes/backend";
import { comparePositions } from "../../../../docker/gateway/src/sandboxes/scope";
import { listed } from "../volume-folder";
import { type MakeWorld, refused, running, wanted, within } from "./world";

const CALLER = { owner: "ann" };
const path = (text: string) => Buffer.from(text);
const volume = (name: string, change: object = {}) => ({ name, labels: {}, owner: "ann", ...change });
const mounting = (name: string) => ({ spec: { mounts: [{ type: "named", name, guest: "/data" }] } });

/** Volumes: names, files, and who holds them. */
export function describeVolumes(make: MakeWorld): void {
  test("a volume is there when its creation resolves, with what was asked for", async () => {
    const { volumes } = (await make()).backend;
    const made = await volumes.create(volume("data", { labels: { a: "b" } }));
    expect(made).toMatchObject({ name: "data", owner: "ann", labels: { a: "b" } });
    const [only, ...others] = await volumes.list({});
    expect(others).toEqual([]);
    expect(only).toMatchObject({ id: made.id, name: "data", owner: "ann", labels: { a: "b" } });
    await Promise.all(["c", "a", "b"].map((name) => volumes.create(volume(name))));
    const all = await volumes.list({});
    expect(all.map(({ id }) => id)).toEqual([...all].sort(comparePositions).map(({ id }) => id));
    const shared = await volumes.shared();
    expect(shared).toMatchObject({ name: null, owner: null });
    expect((await volumes.list({ owner: "bob" })).length).toBe(0);
  });

  test("a name is one volume's, however many ask at once, and free as soon as that is removed", async () => {
    const { backend } = await make();
    for (let round = 0; round < 3; round++) {
      const attempts = Array.from({ length: 5 }, () => backend.volumes.create(volume("data")));
      const outcomes = await Promise.allSettled(attempts);
      const made = outcomes.flatMap((each) => (each.status === "fulfilled" ? [each.value] : []));
      expect(made).toHaveLength(1);
      const { id } = made[0] as Volume;
      for (const attempt of attempts) await attempt.catch(() => refused(attempt, "nameTaken"));
      expect((await backend.usage("ann")).volumes).toBe(1);
      await backend.volumes.remove(id, { owner: "ann" });
      expect(await backend.volumes.list({})).toEqual([]);
      await refused(backend.volumes.remove(id, { owner: "ann" }), "volumeNotFound");
      await refused(backend.volumes.files(id, { owner: "ann" }, CALLER), "volumeNotFound");
    }
    expect((await backend.usage()).volumes).toBe(0);
  });

  test("no more are made than there may be, however many ask at once", async () => {
    const { backend } = await make({ limits: { volumes: 2, volumeGib: 10 } });
    const outcomes = await Promise.allSettled(
      ["a", "b", "c", "d", "e"].map((name) => backend.volumes.create(volume(name))),
    );
    expect(outcomes.filter(({ status }) => status === "fulfilled")).toHaveLength(2);
    await refused(backend.volumes.create(volume("more")), "noCapacity");
    const [first] = await backend.volumes.list({});
    await backend.volumes.remove(first?.id ?? "", {});
    await refused(backend.volumes.create(volume("large", { capacityGib: 11 })), "noCapacity");
    await backend.volumes.create(volume("more"));
  });

  test("what a sandbox mounts is not removed, whether it runs or not", async () => {
    const world = await make();
    const { sandboxes, volumes } = world.backend;
    const { id } = await volumes.create(volume("data"));
    const rests = await sandboxes.create(wanted("rests", mounting("data")));
    const runs = await running(world, "runs", mounting("data"));
    for (const box of [rests, runs]) {
      await refused(volumes.remove(id, { owner: "ann" }), "conflict");
      await sandboxes.want(box.id, "removed");
      await sandboxes.until(box.id, ({ ended }) => ended, within(20_000)).catch(() => undefined);
    }
    await volumes.remove(id, { owner: "ann" });
    await refused(sandboxes.create(wanted("late", mounting("data"))), "volumeNotFound");
    expect(await sandboxes.get({ name: "late" }, {})).toBeUndefined();
  });

  test("its files are to be read and written; those of a disk are its guests' alone", async () => {
    const { volumes } = (await make()).backend;
    const { id } = await volumes.create(volume("data"));
    const files = await volumes.files(id, { owner: "ann" }, CALLER);
    const content = Buffer.from("some text");
    await files.write(path("/folder/file"), pieces(content));
    const read = await files.read(path("/folder/file"));
    expect(read.size).toBe(content.length);
    expect(Buffer.concat(await read.content.toArray())).toEqual(content);
    expect((await listed(files, "/folder")).map(({ path }) => path.toString())).toEqual(["/folder/file"]);
    await refused(files.read(path("/none")), "fileNotFound");
    await refused(files.write(path("/../out"), pieces(content)), "invalidPath");
    await refused(files.write(path("/f"), pieces(content), { maxBytes: 3 }), "tooLarge");
    expect(await files.exists(path("/f"))).toBe(false);
    const disk = await volumes.create(volume("disk", { capacityGib: 1 }));
    expect(disk.capacityBytes).toBe(1024 ** 3);
    await refused(volumes.files(disk.id, { owner: "ann" }, CALLER), "unsupported");
    const { id: shared } = await volumes.shared();
    await (await volumes.files(shared, {}, CALLER)).write(path("/shared"), pieces(content));
    await refused(volumes.remove(shared, {}), "conflict");
    // Where owners see their own alone, it is nobody's.
    await refused(volumes.files(shared, { owner: "ann" }, CALLER), "volumeNotFound");
  });
}

async function* pieces(content: Buffer): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < content.length; at += 4) yield content.subarray(at, at + 4);
}
