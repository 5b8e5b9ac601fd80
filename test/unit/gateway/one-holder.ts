import { setTimeout as sleep } from "node:timers/promises";
import { expect } from "vitest";
import type { Hold, Names } from "../../../docker/gateway/src/backends/servers/names";
import { WAY_FAULTS, type WayFault } from "../../harness/faulty-proxy";
import { type Random, randomFrom } from "../../harness/random";
import { type Cluster, namesOf, namesOver } from "./kubernetes-world";

export type OneHolderOptions = {
  seed: number;
  routers: number;
  /** What is done through each router at once, and how often. */
  lanes: number;
  turns: number;
};

/** Whether it was refused because the API did not answer; anything else is a failure. */
const refused = (seed: number) => (error: { kind?: string }) => {
  expect([seed, error.kind]).toEqual([seed, "unavailable"]);
  return undefined;
};

/**
 * Routers take, settle, release and forget the same few names at once while requests and answers get lost, are late and
 * fail. Nobody gets a name that somebody holds, and in the end each name is to be had.
 */
export async function checkOneHolder(cluster: Cluster, options: OneHolderOptions): Promise<number> {
  const { seed, routers, lanes, turns } = options;
  const random = randomFrom(seed);
  const name = () => `one-holder ${seed} ${random.between(0, 2)}`;
  let faulty = true;
  const fault = (): WayFault | undefined =>
    faulty && random.between(0, 4) === 0 ? random.pick(WAY_FAULTS) : undefined;
  const callMs = 10 * (await usualMs(cluster)) + 30;
  const lateMs = () => random.between(1, 2 * callMs);
  const times = { waitMs: 5 * callMs, lateMs: 5 * callMs };
  const ways = await Promise.all(
    Array.from({ length: routers }, () => namesOver(cluster, { fault, lateMs, callMs }, times)),
  );
  const holders = new Map<string, string>();
  let takes = 0;

  const lane = async (router: number, number: number) => {
    const { names } = ways[router] as (typeof ways)[number];
    for (let turn = 0; turn < turns; turn++) {
      const which = name();
      const hold = await take(names, which, random).catch(refused(seed));
      if (!hold) continue;
      takes += 1;
      const me = `${router}.${number}.${turn}`;
      expect([seed, which, me, holders.get(which)]).toEqual([seed, which, me, undefined]);
      holders.set(which, me);
      await sleep(random.between(0, 20));
      // It may be free from the moment on at which that is asked for.
      holders.delete(which);
      await end(names, which, hold, me, random).catch(refused(seed));
    }
  };
  await Promise.all(
    ways.flatMap((_, router) => Array.from({ length: lanes }, (_, number) => lane(router, number))),
  );

  faulty = false;
  await Promise.all(ways.map(({ proxy }) => proxy.arrived()));
  // What was late when it was given up is looked at once more.
  await sleep(2 * times.lateMs);
  await Promise.all(ways.map(({ names }) => names.settled()));
  for (let at = 0; at <= 2; at++) {
    const which = `one-holder ${seed} ${at}`;
    const { names } = random.pick(ways);
    const first = await names.take(which);
    if ("taken" in first) continue;
    expect([seed, which, first.held.state]).toEqual([seed, which, expect.stringMatching(/made|lost/)]);
    expect([seed, await names.take(which, first.held)]).toEqual([
      seed,
      { taken: expect.objectContaining({ state: "making" }) },
    ]);
  }
  return takes;
}

/** Milliseconds that a request takes here and now. */
async function usualMs(cluster: Cluster): Promise<number> {
  const names = namesOf(cluster);
  const began = performance.now();
  for (let at = 0; at < 10; at++) await names.sweep();
  return (performance.now() - began) / 10;
}

/** As claims.ts does: what is being made is nobody else's, and what was made may be no more. */
async function take(names: Names, name: string, random: Random): Promise<Hold | undefined> {
  const first = await names.take(name);
  if ("taken" in first) return first.taken;
  if (first.held.state === "making" || random.between(0, 1)) return undefined;
  const second = await names.take(name, first.held);
  return "taken" in second ? second.taken : undefined;
}

async function end(names: Names, name: string, hold: Hold, id: string, random: Random): Promise<void> {
  const how = random.between(0, 3);
  if (how === 0) return names.release(name, hold);
  if (how === 1) return names.settle(name, hold, null);
  await names.settle(name, hold, id);
  if (how === 2) await names.forget(name, id);
}
