import { expect, test } from "vitest";
import type { ServersBackend } from "../../../docker/gateway/src/backends/servers/backend";
import type { MirroredBackend } from "../../../docker/gateway/src/sandboxes/changes";
import { randomFrom, seedFromEnvironment } from "../../harness/random";
import { wanted } from "./backend-contract/world";
import { until } from "./harness";
import type { MsbWorld } from "./msb-world";
import { ServersWorld } from "./servers-world";

/** A router whose questions for changes are counted, and that hears of changes until it is told to no longer. */
function counting(world: ServersWorld) {
  const counts = { asked: 0, hearing: 0 };
  let deaf = new AbortController();
  const around = ({ backend }: MsbWorld): MirroredBackend => {
    const { sandboxes } = backend;
    const counted = Object.assign(Object.create(sandboxes), {
      changes: (since?: string) => {
        counts.asked += 1;
        return sandboxes.changes(since);
      },
      async *watchChanges() {
        counts.hearing += 1;
        yield* sandboxes.watchChanges(deaf.signal);
        counts.hearing -= 1;
      },
    });
    return Object.assign(Object.create(backend), { sandboxes: counted });
  };
  return {
    counts,
    router: world.another({ around }),
    deafen: () => {
      deaf.abort();
      deaf = new AbortController();
    },
  };
}

const everything = { labels: {}, limit: 500 };
const seenBy = async ({ sandboxes }: ServersBackend) =>
  (await sandboxes.list(everything)).items.map(({ name, status }) => `${name} ${status}`).sort();

test("every list shows what was answered through any router, and asks nothing while nothing changes", async () => {
  const seed = seedFromEnvironment("SERVERS_SEED");
  const random = randomFrom(seed);
  const world = await ServersWorld.make();
  const { counts, router, deafen } = counting(world);
  const routers = [router, world.another()];
  const made = new Map<string, string>();
  for (let turn = 0; turn < 60; turn++) {
    const { sandboxes } = random.pick(routers);
    const what = random.between(0, 3);
    const [id] = [...made.keys()].slice(random.between(0, Math.max(0, made.size - 1)));
    if (what === 0 || id === undefined) {
      const { id } = await sandboxes.create(wanted(`box-${turn}`, { desired: "running" }));
      made.set(id, `box-${turn}`);
      await sandboxes.until(id, ({ status }) => status === "running", AbortSignal.timeout(20_000));
    } else if (what === 1) {
      await sandboxes.want(id, "removed");
      made.delete(id);
    } else {
      const status = what === 2 ? "running" : "stopped";
      await sandboxes.want(id, status);
      await sandboxes.until(id, (now) => now.status === status && now.settled, AbortSignal.timeout(20_000));
    }
    if (turn % 20 === 19) deafen();
    const truth = await Promise.all(world.worlds.map(({ backend }) => backend.sandboxes.list(everything)));
    const names = truth.flatMap(({ items }) => items.map(({ name, status }) => `${name} ${status}`)).sort();
    expect(names).toHaveLength(made.size);
    for (const each of routers) expect([seed, turn, await seenBy(each)]).toEqual([seed, turn, names]);
  }
  await until(() => counts.hearing === world.worlds.length, "it to be told of changes again", 10_000);
  await seenBy(router);
  const before = counts.asked;
  for (let turn = 0; turn < 50; turn++) await seenBy(router);
  expect(counts.asked).toBe(before);
}, 120_000);
