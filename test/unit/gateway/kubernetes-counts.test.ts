import { setTimeout as sleep } from "node:timers/promises";
import { test } from "vitest";
import { ServerCounts, type ServerHas } from "../../../docker/gateway/src/kubernetes/server-counts";
import { atFileEnd } from "../../harness/file-end";
import { randomFrom, seedFromEnvironment } from "../../harness/random";
import { until } from "./harness";
import { apiOf, fakeCluster, quiet } from "./kubernetes-world";

const LEASES = "/apis/coordination.k8s.io/v1/namespaces/sandboxes/leases";

test("whatever happens to servers and to the API, routers come to tell what each server has", async () => {
  const seed = seedFromEnvironment("COUNTS_SEED");
  const random = randomFrom(seed);
  const cluster = await fakeCluster();
  const { fake } = cluster;
  const counts = new Map<number, ServerHas>();
  const closing = new AbortController();
  atFileEnd(() => closing.abort());
  for (let router = 0; router < 2; router++) {
    const options = { api: apiOf(cluster, 200), namespace: "sandboxes", group: "servers", log: quiet };
    const told = new ServerCounts({ ...options, counts: async () => new Map(counts), everyMs: 20 });
    void told.keepTelling(closing.signal);
  }
  const shown = () =>
    Object.fromEntries(
      fake.all(LEASES).map(({ metadata: { name, annotations } }) => {
        const told = ["sandboxes", "volumes", "snapshots"].map(
          (what) => annotations?.[`microsandbox-stack/${what}`],
        );
        return [name, told.join()];
      }),
    );
  const isTold = () => {
    const wanted = Object.fromEntries(
      [...counts].map(([number, { sandboxes, volumes, snapshots }]) => [
        `servers-${number}`,
        [sandboxes, volumes, snapshots].join(),
      ]),
    );
    const is = shown();
    return (
      Object.keys(is).length === counts.size &&
      Object.entries(wanted).every(([name, count]) => is[name] === count)
    );
  };
  for (let turn = 0; turn < 30; turn++) {
    const number = random.between(0, 4);
    if (random.between(0, 3) === 0) counts.delete(number);
    else {
      const has = () => random.between(0, 2);
      counts.set(number, { sandboxes: has(), volumes: has(), snapshots: has() });
    }
    if (random.between(0, 4) === 0) fake.be(random.pick(["down", "silent"] as const));
    await sleep(random.between(0, 60));
    fake.be("up");
    if (random.between(0, 2) === 0) await until(isTold, `what servers have, ${seed} ${turn}`, 30_000);
  }
  await until(isTold, `what servers have in the end, ${seed}`, 30_000);
}, 240_000);
