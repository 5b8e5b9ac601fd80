import { chmodSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { atFileEnd } from "../../harness/file-end";
import { FAKE_MSB, TestGateway, temporaryFolder, until } from "./harness";
import { WarmGuests } from "./warm-guests";

const MIB = 64;

/** A gateway whose msb takes its time to remove a microVM, and the most that there were at once. */
async function start(env: Record<string, string>, kind: object) {
  const home = temporaryFolder();
  const path = join(home, "msb");
  writeFileSync(path, `#!/bin/sh\n[ "$1" != rm ] || sleep 0.4\nexec ${FAKE_MSB} "$@"\n`);
  chmodSync(path, 0o755);
  const guests = new WarmGuests(home);
  const WARM = JSON.stringify([{ image: "starter", vcpus: 1, memoryMib: MIB, ...kind }]);
  const gateway = await TestGateway.start({ MSB_PATH: path, WARM, ...env }, home);
  const folder = join(home, "fake", "sandboxes");
  const alive = () =>
    readdirSync(folder).filter((file) => {
      if (!file.endsWith(".status")) return false;
      try {
        return /Starting|Running/.test(readFileSync(join(folder, file), "utf8"));
      } catch {
        return false;
      }
    }).length;
  let most = 0;
  const look = () => {
    most = Math.max(most, alive());
  };
  const timer = setInterval(look, 5);
  atFileEnd(() => clearInterval(timer));
  const { backend } = gateway.gateway;
  const full = (count: number) =>
    until(
      async () => {
        void backend.sweep();
        await sleep(20);
        return backend.warm() === count;
      },
      "a full pool",
      20_000,
    );
  return { gateway, guests, full, most: () => most };
}

const limit = (count: number) => ({ LIMIT_MEMORY_MIB: `${count * MIB}` });
/** One that no microVM of the pool fits. */
const COLD = { env: [{ key: "A", value: "b" }] };

test("a pool that is renewed takes no more memory than it had, and most of it stays", async () => {
  const { gateway, guests, full, most } = await start(
    { ...limit(3), LIMIT_IDLE_TIMEOUT_SECONDS: "6" },
    { count: 3 },
  );
  await full(3);
  const old = new Set(guests.handles());
  let fewest = 3;
  await until(
    async () => {
      void gateway.gateway.backend.sweep();
      await sleep(20);
      fewest = Math.min(fewest, gateway.gateway.backend.warm());
      return guests.handles().every((handle) => !old.has(handle)) && gateway.gateway.backend.warm() > 0;
    },
    "the renewal",
    20_000,
  );
  expect(most()).toBe(3);
  expect(fewest).toBe(2);
}, 60_000);

test("forks are made when the pool has made room for them", async () => {
  const { gateway, full, most } = await start(limit(4), { count: 3 });
  const { body } = await gateway.create("source", COLD);
  await full(3);
  const forks = await gateway.post(`/v1/sandboxes/${body.id}/fork`, { count: 3 });
  expect([forks.status, gateway.gateway.backend.warm()]).toEqual([200, 0]);
  expect(most()).toBe(4);
}, 60_000);

test("a create waits for the end of a guest that did not take its name, where there is room for one", async () => {
  const { gateway, guests, full, most } = await start(limit(1), { count: 1 });
  await full(1);
  guests.agents = "junk";
  expect((await gateway.create("box")).status).toBe(200);
  expect(most()).toBe(1);
}, 60_000);

test("what boots for the pool gives way, too", async () => {
  const { gateway, most } = await start(limit(1), { count: 1, image: "slow-5" });
  await until(() => most() === 1, "a boot of the pool's", 20_000);
  const { status, body } = await gateway.create("box", COLD);
  expect([status, body.status, most()]).toEqual([200, "running", 1]);
}, 60_000);
