import * as fc from "fast-check";
import { expect, test } from "vitest";
import type { OwnerLimits } from "../../../docker/gateway/src/limits/capacity";
import { refused, wanted, within } from "./backend-contract/world";
import { ServersWorld } from "./servers-world";

type Router = ReturnType<ServersWorld["another"]>;

/** A sandbox that runs. */
async function boxOf({ sandboxes }: Router, name: string, owner: string): Promise<string> {
  const { id } = await sandboxes.create(wanted(name, { owner, desired: "running" }));
  await sandboxes.until(id, ({ settled }) => settled, within(20_000));
  return id;
}

test("however many snapshots a key asks for at once, none more is made than it may have, while they are made and after", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: 3 }),
      fc.array(fc.nat(1), { minLength: 4, maxLength: 8 }),
      async (most, asked) => {
        const limits: Record<string, OwnerLimits> = { ann: { snapshots: most } };
        const world = await ServersWorld.make({}, { count: 2 });
        const router = world.another({ limitsOf: (owner) => limits[owner ?? ""] ?? {} });
        const boxes = [await boxOf(router, "one", "ann"), await boxOf(router, "two", "ann")];
        await world.captures("hang");
        const attempts = await Promise.allSettled(
          asked.map((box, at) =>
            router.snapshots.create({
              ...{ name: `s${at}`, labels: {}, owner: "ann", force: false, sandboxId: boxes[box] ?? "" },
            }),
          ),
        );
        const made = attempts.flatMap((each) => (each.status === "fulfilled" ? [each.value.id] : []));
        const kinds = attempts.flatMap((each) => (each.status === "rejected" ? [each.reason.kind] : []));
        expect([made.length, new Set(kinds)]).toEqual([most, new Set(["noCapacity"])]);
        expect(await router.usage("ann")).toMatchObject({ snapshots: most, snapshotBytes: 0 });
        await world.captures("well");
        for (const id of made)
          expect(await router.snapshots.until(id, within(20_000))).toMatchObject({ status: "succeeded" });
        expect((await router.snapshots.list({ limit: 100, owner: "ann" })).items).toHaveLength(most);
      },
    ),
    { numRuns: 4, endOnFailure: true },
  );
}, 120_000);

test("a snapshot in the place of somebody else's is one more of the key that takes it, and in the place of its own is none", async () => {
  const world = await ServersWorld.make({ namesPerOwner: false }, { count: 1 });
  const router = world.another({ limitsOf: (owner) => (owner === "bob" ? { snapshots: 1 } : {}) });
  const box = { ann: await boxOf(router, "hers", "ann"), bob: await boxOf(router, "his", "bob") };
  const take = async (owner: "ann" | "bob", name: string) => {
    const { id } = await router.snapshots.create({
      ...{ name, labels: {}, owner, force: true, sandboxId: box[owner] },
    });
    expect(await router.snapshots.until(id, within(20_000))).toMatchObject({ status: "succeeded" });
  };
  for (const name of ["one", "two"]) await take("ann", name);
  await take("bob", "one");
  await refused(take("bob", "two"), "noCapacity");
  await take("bob", "one");
  const { items } = await router.snapshots.list({ limit: 100 });
  expect(items.map(({ name, owner }) => [name, owner]).sort()).toEqual([
    ["one", "bob"],
    ["two", "ann"],
  ]);
});
