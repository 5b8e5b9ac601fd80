import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import fc from "fast-check";
import { expect, test } from "vitest";
import { withFirstSignal } from "../../../docker/gateway/src/first-signal";

setFlagsFromString("--expose-gc");
const collectGarbage: () => void = runInNewContext("gc");

test("it aborts when the time is over, whatever is collected meanwhile", async () => {
  const timer = setInterval(collectGarbage, 5);
  const aborted = (signal: AbortSignal) =>
    new Promise<string>((resolve) => {
      signal.addEventListener("abort", () => resolve(signal.reason.name), { once: true });
    });
  // Another one, that somebody else holds.
  const never = new AbortController();
  const all = Array.from({ length: 20 }, () => withFirstSignal([never.signal], aborted, 50));
  expect(new Set(await Promise.all(all))).toEqual(new Set(["TimeoutError"]));
  clearInterval(timer);
});

test("the signal aborts with the first of its sources, in whatever order, and keeps none of them", async () => {
  const sources = fc.array(fc.integer({ min: -1, max: 4 }), { maxLength: 5 });
  await fc.assert(
    fc.asyncProperty(sources, fc.option(fc.integer({ min: 5, max: 8 })), async (turns, time) => {
      const controllers = turns.map(() => new AbortController());
      for (const [at, turn] of turns.entries()) if (turn < 0) controllers[at]?.abort(at);
      const first = Math.min(...turns, time ?? Infinity, 9);
      const work = async (signal: AbortSignal) => {
        for (let turn = 0; turn < 9; turn++) {
          for (const [at, each] of turns.entries()) if (each === turn) controllers[at]?.abort(at);
          if (turn === time) await new Promise((resolve) => setTimeout(resolve, 10));
        }
        return signal;
      };
      const signal = await withFirstSignal(
        [undefined, ...controllers.map((each) => each.signal)],
        work,
        time === null ? undefined : 5,
      );
      expect(signal.aborted).toBe(first < 9);
      if (first < (time ?? 9)) expect(turns[signal.reason]).toBe(first);
      else if (first < 9) expect(signal.reason.name).toBe("TimeoutError");
    }),
    { numRuns: 50 },
  );
});
