import fc from "fast-check";
import { expect, test } from "vitest";
import type { Backend } from "../../../../docker/gateway/src/sandboxes/backend";
import { listed, type MakeWorld, refused, running, settled, type World, wanted } from "./world";

/** Lists, names and figures: what each owner sees. */
export function describeScopes(make: MakeWorld): void {
  test("names are each owner's own where that is set, and everybody's where it is not", async () => {
    const own = (await make()).backend.sandboxes;
    const of = {
      ann: await own.create(wanted("box")),
      bob: await own.create(wanted("box", { owner: "bob" })),
    };
    for (const owner of ["ann", "bob"] as const)
      expect(await own.get({ name: "box" }, { owner })).toMatchObject({ id: of[owner].id, owner });
    await refused(own.create(wanted("box")), "nameTaken");
    const shared = (await make({ namesPerOwner: false })).backend.sandboxes;
    await shared.create(wanted("box"));
    await refused(shared.create(wanted("box", { owner: "bob" })), "nameTaken");
  });

  test("labels pick from a list", async () => {
    const { backend } = await make();
    for (const [name, labels] of Object.entries({ a: { x: "1" }, b: { x: "1", y: "2" }, c: {} }))
      await backend.sandboxes.create(wanted(name, { spec: { labels } }));
    const names = async (labels: Record<string, string>) =>
      (await backend.sandboxes.list({ labels, limit: 10 })).items.map(({ name }) => name);
    expect(await names({ x: "1" })).toEqual(["a", "b"]);
    expect(await names({ x: "1", y: "2" })).toEqual(["b"]);
    expect(await names({ x: "2" })).toEqual([]);
  });

  test("pages hold what was there all the while, once each and in order, while others come and go", async () => {
    const world = await make({ limits: { totalSandboxes: 10_000 } });
    const { sandboxes } = world.backend;
    const stays: string[] = [];
    let count = 0;
    const add = async (owner: string) => (await sandboxes.create(wanted(`box-${count++}`, { owner }))).id;
    for (let i = 0; i < 12; i++) stays.push(await add(i % 3 === 0 ? "bob" : "ann"));
    const step = fc.record({ limit: fc.integer({ min: 1, max: 5 }), add: fc.nat(2), remove: fc.nat(2) });
    await fc.assert(
      fc.asyncProperty(
        fc.array(step, { maxLength: 20 }),
        fc.constantFrom("ann", undefined),
        async (steps, owner) => {
          const comes: string[] = [await add("ann"), await add("ann")];
          const seen: { id: string; createdAt: string }[] = [];
          for (let at = 0; ; at++) {
            const { limit, add: more, remove } = steps[at] ?? { limit: 3, add: 0, remove: 0 };
            const page = await sandboxes.list({ owner, labels: {}, limit, after: seen.at(-1) });
            seen.push(...page.items);
            for (const { owner: whose } of page.items) if (owner) expect(whose).toBe(owner);
            if (!page.more) break;
            expect(page.items).toHaveLength(limit);
            for (let i = 0; i < more; i++) comes.push(await add("ann"));
            for (let i = 0; i < remove; i++) {
              const id = comes.splice(Math.floor(comes.length / 2), 1)[0];
              if (id) await sandboxes.want(id, "removed");
            }
          }
          const order = seen.map(({ createdAt, id }) => `${createdAt} ${id}`);
          expect(order).toEqual([...new Set(order)].sort());
          const expected = stays.filter((_, index) => owner === undefined || index % 3 !== 0);
          const found = new Set(seen.map(({ id }) => id));
          expect(expected.filter((id) => !found.has(id))).toEqual([]);
          for (const id of comes) await sandboxes.want(id, "removed");
        },
      ),
      { numRuns: 15 },
    );
  });

  test("whatever owners do, each sees its own alone, and the figures add up", async () => {
    const owners = ["ann", "bob", "eve"] as const;
    const operation = fc.record({
      owner: fc.constantFrom(...owners),
      /** Whose thing it is about; by its id, whoever asks. */
      of: fc.constantFrom(...owners),
      name: fc.constantFrom("x", "y"),
      what: fc.constantFrom("create", "boot", "stop", "remove", "get", "volume", "unmake", "mount", "files"),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(operation, { minLength: 5, maxLength: 25 }), async (operations) => {
        const world = await make();
        const boxes = new Map<string, string>();
        const volumes = new Map<string, string>();
        for (const each of operations) await act(world, boxes, volumes, each);
        for (const [key, id] of boxes) {
          const [owner, name] = key.split("/");
          expect(await world.backend.sandboxes.get({ id }, { owner })).toMatchObject({ id, owner, name });
        }
        for (const owner of owners) {
          const own = [...boxes].filter(([key]) => key.startsWith(owner)).map(([, id]) => id);
          expect((await listed(world, owner, 2)).map(({ id }) => id).sort()).toEqual(own.sort());
          const kept = [...volumes].filter(([key]) => key.startsWith(owner)).map(([, id]) => id);
          expect((await world.backend.volumes.list({ owner })).map(({ id }) => id).sort()).toEqual(
            kept.sort(),
          );
          for (const id of own) await settled(world, id);
        }
        await addsUp(world.backend, owners);
      }),
      { numRuns: 8 },
    );
  });

  test("the figures count what runs, and give it back", async () => {
    const world = await make();
    const sizes = { a: [1, 64], b: [2, 128], c: [3, 32] } as const;
    for (const [name, [vcpus, memory_mib]] of Object.entries(sizes))
      await running(world, name, { owner: name, spec: { resources: { vcpus, memory_mib } } });
    expect(await world.backend.usage()).toMatchObject({ total: 3, running: 3, cpus: 6, memoryMib: 224 });
    expect(await world.backend.usage("b")).toMatchObject({ total: 1, running: 1, cpus: 2, memoryMib: 128 });
    expect(await world.backend.statuses()).toMatchObject({ running: 3, stopped: 0 });
    await addsUp(world.backend, ["a", "b", "c"]);
    for (const { id } of await listed(world)) await world.backend.sandboxes.want(id, "stopped");
    for (const { id } of await listed(world)) await settled(world, id);
    expect(await world.backend.usage()).toMatchObject({ total: 3, running: 0, cpus: 0, memoryMib: 0 });
    expect(await world.backend.statuses()).toMatchObject({ running: 0, stopped: 3 });
  });
}

type Operation = { owner: string; of: string; name: string; what: string };

/** Does one thing, and keeps account of what each owner should have. */
async function act(
  { backend }: World,
  boxes: Map<string, string>,
  volumes: Map<string, string>,
  { owner, of, name, what }: Operation,
): Promise<void> {
  const { sandboxes } = backend;
  const own = `${owner}/${name}`;
  const box = boxes.get(`${of}/${name}`);
  const volume = volumes.get(`${of}/${name}`);
  if (what === "create" || what === "boot") {
    const create = sandboxes.create(
      wanted(name, { owner, desired: what === "boot" ? "running" : "stopped" }),
    );
    if (boxes.has(own)) await refused(create, "nameTaken");
    else {
      const { id } = await create;
      await sandboxes.answered(id);
      boxes.set(own, id);
    }
  } else if (what === "volume") {
    const create = backend.volumes.create({ name, labels: {}, owner });
    if (volumes.has(own)) await refused(create, "nameTaken");
    else volumes.set(own, (await create).id);
  } else if (what === "mount") {
    const mounts = [{ type: "named", name, guest: "/data" }];
    const create = sandboxes.create(wanted("mounts", { owner, spec: { mounts } }));
    if (!volumes.has(own)) await refused(create, "volumeNotFound");
    else {
      // Removed at once: what the other operations do with the volume must not depend on it.
      const { id } = await create;
      await refused(backend.volumes.remove(volumes.get(own) ?? "", { owner }), "conflict");
      await sandboxes.want(id, "removed");
    }
  } else if (volume && (what === "unmake" || what === "files")) {
    const attempt =
      what === "files"
        ? backend.volumes.files(volume, { owner }, { owner })
        : backend.volumes.remove(volume, { owner });
    if (of !== owner) await refused(attempt, "volumeNotFound");
    else {
      await attempt;
      if (what === "unmake") volumes.delete(own);
    }
  } else if (box) {
    const found = await sandboxes.get({ id: box }, { owner });
    expect(found?.id).toBe(of === owner ? box : undefined);
    expect((await sandboxes.get({ name }, { owner }))?.id).toBe(boxes.get(own));
    if (of !== owner) return;
    if (what === "stop") await sandboxes.want(box, "stopped");
    if (what === "remove") {
      await sandboxes.want(box, "removed");
      boxes.delete(own);
    }
  }
}

async function addsUp(backend: Backend, owners: readonly string[]): Promise<void> {
  const all = await backend.usage();
  const sums = await Promise.all(owners.map((owner) => backend.usage(owner)));
  for (const field of Object.keys(all) as (keyof typeof all)[])
    expect([field, sums.reduce((sum, each) => sum + each[field], 0)]).toEqual([field, all[field]]);
  // What is being removed is counted until it is gone, and listed no longer.
  const difference = async () => {
    const { items } = await backend.sandboxes.list({ labels: {}, limit: 500 });
    return Object.values(await backend.statuses()).reduce((sum, count) => sum + count, -items.length);
  };
  await expect.poll(difference, { timeout: 20_000 }).toBe(0);
}
