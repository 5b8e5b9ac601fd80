import fc from "fast-check";
import { expect, test } from "vitest";
import { Waits } from "../../../docker/gateway/src/backends/msb/waits";

const turn = () => new Promise(setImmediate);

test("all who wait are looked at once a turn, with one view, whoever changes how much; each ends when it holds or is left", async () => {
  const step = fc.record({
    changes: fc.array(fc.integer({ min: 0, max: 9 }), { minLength: 1, maxLength: 50 }),
    joins: fc.array(fc.integer({ min: 0, max: 9 }), { maxLength: 20 }),
    leaves: fc.nat(10),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 20 }), async (steps) => {
      let value = -1;
      let views = 0;
      let looks = 0;
      const waits = new Waits(() => {
        views += 1;
        return value;
      });
      const open = new Set<{ wanted: number; abort: AbortController; ended: Promise<number> }>();
      for (const { changes, joins, leaves } of steps) {
        for (const wanted of joins) {
          const abort = new AbortController();
          const holds = (seen: number) => {
            looks += 1;
            return seen === wanted;
          };
          open.add({ wanted, abort, ended: waits.until(holds, abort.signal) });
        }
        for (const each of [...open].slice(0, leaves)) {
          each.abort.abort();
          expect(await each.ended).toBe(value);
          open.delete(each);
        }
        [views, looks] = [0, 0];
        const waiting = waits.count;
        expect(waiting).toBe(open.size);
        for (value of changes) waits.wake();
        await turn();
        expect(views).toBe(waiting > 0 ? 1 : 0);
        expect(looks).toBe(waiting);
        for (const each of open)
          if (each.wanted === value) {
            expect(await each.ended).toBe(value);
            open.delete(each);
          }
        expect(waits.count).toBe(open.size);
      }
      for (const { abort } of open) abort.abort();
      expect(waits.count).toBe(0);
    }),
  );
});
