import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { settled } from "../../../../cli/deploy/settled";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

/** Seconds until it has made up its mind about a container in these states, one for each second; the last one stays. */
async function waited(states: string[]): Promise<[string, number]> {
  const began = Date.now();
  const waiting = settled(async () => (states.length > 1 ? states.shift() : states[0]) ?? "");
  await vi.runAllTimersAsync();
  return [await waiting, (Date.now() - began) / 1000];
}

it.each<[string, string[], [string, number]]>([
  ["is healthy", ["running healthy"], ["running healthy", 0]],
  ["gets healthy", ["running starting", "running starting", "running healthy"], ["running healthy", 2]],
  [
    "is called unhealthy until the next probe",
    ["running unhealthy", "running healthy"],
    ["running healthy", 1],
  ],
  ["stays unhealthy", ["running unhealthy"], ["running unhealthy", 60]],
  ["never gets ready", ["running starting"], ["running starting", 300]],
  ["has ended", ["exited unhealthy"], ["exited unhealthy", 0]],
  ["is gone", [""], ["", 0]],
])("waits for a container that %s", async (_what, states, expected) => {
  expect(await waited(states)).toEqual(expected);
});
