import fc from "fast-check";
import { expect, test } from "vitest";
import { type GiveBack, SharedPlaces } from "../../../docker/gateway/src/limits/shared-places";

const owners = fc.array(fc.constantFrom("ann", "bob", "cid", "dan"), { minLength: 40, maxLength: 80 });
const total = fc.integer({ min: 2, max: 16 });

/** Lets owners take what they get in that order, and tells how many each has. */
function taken(places: SharedPlaces, order: string[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const owner of order)
    if (places.isFree(owner)) {
      places.take(owner);
      counts.set(owner, (counts.get(owner) ?? 0) + 1);
    }
  return counts;
}

test("whatever the order, only an owner who has none takes the last place", () => {
  fc.assert(
    fc.property(total, owners, (total, order) => {
      const places = new SharedPlaces(total, "places");
      const having = new Set<string>();
      for (const owner of order) {
        const free = total - places.inUse;
        expect(places.isFree("eve")).toBe(free > 0);
        if (having.has(owner) && free <= 1) expect(() => places.take(owner)).toThrow(/ places at once/);
        else if (!having.has(owner) && free > 0) places.take(owner);
        having.add(owner);
        taken(places, [owner]);
      }
    }),
  );
});

test("whatever the order, one greedy owner gets half, and two get two thirds of all", () => {
  fc.assert(
    fc.property(total, owners, (total, order) => {
      const one = taken(
        new SharedPlaces(total, "places"),
        Array.from({ length: 40 }, () => "ann"),
      );
      expect(one.get("ann")).toBe(Math.ceil(total / 2));
      const two = order.map((owner) => (owner < "c" ? "ann" : "bob"));
      const places = new SharedPlaces(total, "places");
      taken(places, [...two, ...Array.from({ length: 80 }, (_each, at) => (at % 2 ? "ann" : "bob"))]);
      expect(places.inUse).toBeGreaterThanOrEqual(Math.floor((2 * total) / 3));
    }),
  );
});

test("whoever waits gets a place when one is given back, each owner in turn, each in its own order", async () => {
  await fc.assert(
    fc.asyncProperty(total, owners, async (total, order) => {
      const places = new SharedPlaces(total, "places");
      const begun: { owner: string; at: number; giveBack: GiveBack }[] = [];
      const all = order.map((owner, at) =>
        places.wait(owner).then((giveBack) => void begun.push({ owner, at, giveBack })),
      );
      for (let served = 0; served < order.length; served++) {
        await new Promise(setImmediate);
        expect(places.inUse).toBeLessThanOrEqual(total);
        const next = begun[served];
        if (!next) throw new Error("all places are free, and somebody waits");
        next.giveBack();
        next.giveBack();
      }
      await Promise.all(all);
      expect([places.inUse, places.waiting]).toEqual([0, 0]);
      for (const owner of new Set(order)) {
        const own = begun.filter((each) => each.owner === owner).map(({ at }) => at);
        expect(own).toEqual([...own].sort((a, b) => a - b));
      }
    }),
  );
});
