import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import fc from "fast-check";
import { describe, expect, test, vi } from "vitest";
import { agentSocketPath } from "../../../docker/gateway/src/backends/msb/agent-socket";
import { DiskReserve } from "../../../docker/gateway/src/limits/disk-reserve";
import { settled, wanted } from "./backend-contract/world";
import { TestGateway, temporaryFolder, until } from "./harness";
import { MsbWorld } from "./msb-world";
import { WarmGuests, warmHandles } from "./warm-guests";

const KIND = { image: "starter", count: 2, vcpus: 1, memoryMib: 64 };

async function start(env: Record<string, string> = {}, kinds: object[] = [KIND], home = temporaryFolder()) {
  const guests = new WarmGuests(home);
  const gateway = await TestGateway.start({ WARM: JSON.stringify(kinds), ...env }, home);
  return { gateway, guests, home };
}

/** What msb calls a sandbox of that name. */
const handleOf = (gateway: TestGateway, id: string): string =>
  JSON.parse(readFileSync(join(gateway.home, "gateway", "sandboxes", `${id}.json`), "utf8")).handle;
const isWarm = (gateway: TestGateway, id: string) => handleOf(gateway, id).startsWith("warm-");
const conf = (gateway: TestGateway, handle: string) =>
  JSON.parse(readFileSync(join(gateway.home, "fake", "sandboxes", `${handle}.conf`), "utf8"));
const isMade = (gateway: TestGateway, handle: string) =>
  existsSync(join(gateway.home, "fake", "sandboxes", `${handle}.status`));
const full = (gateway: TestGateway, count = KIND.count) =>
  until(
    async () => {
      await gateway.gateway.backend.sweep();
      const all = warmHandles(gateway.home).every((handle) =>
        existsSync(agentSocketPath(gateway.home, handle)),
      );
      return all && gateway.gateway.backend.warm() === count;
    },
    "a full pool",
    20_000,
  );

test("a create takes a booted one, which is like any other from then on, and the pool is filled again", async () => {
  const { gateway, guests } = await start();
  await full(gateway);
  const pool = guests.handles();
  expect((await gateway.get("/v1/sandboxes")).body.data).toEqual([]);

  const { status, body } = await gateway.create("box", { labels: { a: "b" } });
  expect([status, body.status, body.name]).toEqual([200, "running", "box"]);
  const handle = handleOf(gateway, body.id);
  expect(pool).toContain(handle);
  expect(guests.namesOf(handle)).toEqual(["box", "box"]);
  expect(gateway.calls()).not.toContain(body.id);
  const listed = (await gateway.get(`/v1/sandboxes?labels=${encodeURIComponent('{"a":"b"}')}`)).body.data;
  expect(listed.map(({ id }: { id: string }) => id)).toEqual([body.id]);
  await full(gateway);
  expect(guests.handles()).toHaveLength(3);

  // After another boot msb has given it the pool's name again.
  expect((await gateway.post(`/v1/sandboxes/${body.id}/stop`)).status).toBe(200);
  guests.files.get(handle)?.set("/proc/sys/kernel/hostname", "sandbox");
  expect((await gateway.post(`/v1/sandboxes/${body.id}/start?wait_for=running`)).status).toBe(200);
  expect(guests.namesOf(handle)).toEqual(["box", "box"]);

  expect((await gateway.delete(`/v1/sandboxes/${body.id}`)).status).toBe(200);
  await until(() => !isMade(gateway, handle), "its end");
  expect(existsSync(join(gateway.home, "sandboxes", handle))).toBe(false);
  const metrics = (await gateway.get("/metrics")).body as string;
  expect(metrics).toContain('msb_gateway_warm_claim_seconds_count{result="hit"} 1');
});

test("whatever is asked for, msb has made it of the same words as without a pool, but for names and the end of its life", async () => {
  const [warm, cold] = [await start({}, [{ ...KIND, count: 1 }]), await start({}, [])];
  /** What may differ from what the pool has booted; those of the first kind must not matter. */
  const changes = {
    free: fc.record(
      {
        labels: fc.dictionary(fc.stringMatching(/^[a-z]{1,5}$/), fc.string({ maxLength: 5 })),
        lifecycle: fc.record({ max_duration_secs: fc.integer({ min: 60, max: 3600 }) }),
      },
      { requiredKeys: [] },
    ),
    bound: fc.record(
      {
        env: fc.constant([{ key: "A", value: "b" }]),
        resources: fc.constantFrom({ vcpus: 2, memory_mib: 64 }, { vcpus: 1, memory_mib: 65 }),
        rlimits: fc.constant([{ resource: "nofile", soft: 10, hard: 20 }]),
        mounts: fc.constant([{ type: "tmpfs", guest: "/t", options: {} }]),
        patches: fc.constant([{ type: "mkdir", path: "/d" }]),
        security_profile: fc.constant("restricted"),
        network: fc.constantFrom({ enabled: false }, { policy: { rules: [] } }),
        runtime: fc.constantFrom({ workdir: "/w" }, { user: "nobody" }, { scripts: { a: "b" } }),
      },
      { requiredKeys: [] },
    ),
  };
  let count = 0;
  const hits = { warm: 0, cold: 0 };
  await fc.assert(
    fc.asyncProperty(changes.free, fc.oneof(fc.constant({}), changes.bound), async (free, bound) => {
      await full(warm.gateway, 1);
      const name = `s${count++}`;
      const [ours, theirs] = await Promise.all(
        [warm, cold].map(({ gateway }) => gateway.create(name, { ...free, ...bound })),
      );
      expect(ours?.status).toBe(theirs?.status);
      if (ours?.status !== 200) return;
      const fits = Object.keys(bound).length === 0;
      expect([bound, isWarm(warm.gateway, ours.body.id)]).toEqual([bound, fits]);
      hits[fits ? "warm" : "cold"]++;
      const words = ({
        hostname: _name,
        labels: _labels,
        max_duration: _life,
        ...same
      }: Record<string, unknown>) => same;
      const made = conf(warm.gateway, handleOf(warm.gateway, ours.body.id));
      expect(words(made)).toEqual(words(conf(cold.gateway, theirs?.body.id)));
      const same = ({
        id: _id,
        created_at: _at,
        started_at: _start,
        updated_at: _update,
        ...rest
      }: object & Record<string, unknown>) => rest;
      const [here, there] = await Promise.all(
        [warm, cold].map(({ gateway }) => gateway.get(`/v1/sandboxes/by-name/${name}`)),
      );
      expect(same(here?.body)).toEqual(same(there?.body));
      await Promise.all([
        warm.gateway.delete(`/v1/sandboxes/${ours.body.id}`),
        cold.gateway.delete(`/v1/sandboxes/${theirs?.body.id}`),
      ]);
    }),
    {
      numRuns: 30,
      examples: [
        [{}, {}],
        [{}, { env: [{ key: "A", value: "b" }] }],
      ],
    },
  );
  expect(Math.min(hits.warm, hits.cold)).toBeGreaterThan(0);
}, 120_000);

test("each is claimed once, however many ask at once", async () => {
  const { gateway, guests } = await start({}, [{ ...KIND, count: 3 }]);
  await full(gateway, 3);
  const answers = await Promise.all(Array.from({ length: 12 }, (_each, at) => gateway.create(`box${at}`)));
  expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 200));
  const handles = answers.map(({ body }) => handleOf(gateway, body.id));
  expect(new Set(handles).size).toBe(12);
  expect(handles.filter((handle) => handle.startsWith("warm-")).length).toBeGreaterThanOrEqual(3);
  for (const [at, handle] of handles.entries())
    if (handle.startsWith("warm-")) expect(guests.namesOf(handle)).toEqual([`box${at}`, `box${at}`]);
});

test("a guest that does not take its name is removed, and the create boots another", async () => {
  for (const agents of ["junk", "silent"] as const) {
    const { gateway, guests } = await start({}, [{ ...KIND, count: 1 }]);
    await full(gateway, 1);
    guests.agents = agents;
    const [first = ""] = guests.handles();
    const { status, body } = await gateway.create("box");
    expect([agents, status, body.status, isWarm(gateway, body.id)]).toEqual([agents, 200, "running", false]);
    await until(() => !isMade(gateway, first), "the end of that guest");
  }
}, 60_000);

test("a pool that the limits have no room for says so once, and is as large as it can be", async () => {
  const lines: { err?: string }[] = [];
  const log = {
    info: () => undefined,
    error: () => undefined,
    warn: (line: object) => void lines.push(line),
  };
  const pools = (count: number) => ({
    kinds: [{ ...KIND, count }],
    idleSeconds: 0,
    claimed: () => undefined,
  });
  for (const [count, told] of [
    [4, []],
    [5, ["the setting warm needs 5 sandboxes, 320 MiB and 5 CPUs; the limits are 100, 256 MiB and 64"]],
  ] as const) {
    const world = await MsbWorld.make({ limits: { memoryMib: 256 } }, { log, warm: pools(count) });
    for (let round = 0; round < 3; round++) await world.backend.sweep();
    expect(world.backend.warm()).toBe(4);
    // While sandboxes use the room there is nothing to tell.
    const { id } = await world.backend.sandboxes.create(wanted("box", { desired: "running" }));
    expect(await settled(world, id)).toMatchObject({ status: "running" });
    await world.backend.sweep();
    expect(lines.map(({ err }) => err)).toEqual(told);
  }
}, 30_000);

test("while the disk is full none goes that is too old: no other could take its place", async () => {
  const { gateway, guests } = await start({ LIMIT_IDLE_TIMEOUT_SECONDS: "2" }, [{ ...KIND, count: 1 }]);
  await full(gateway, 1);
  const before = guests.handles();
  const disk = vi.spyOn(DiskReserve.prototype, "check").mockRejectedValue(new Error("the disk is full"));
  try {
    await sleep(1_100);
    await gateway.gateway.backend.sweep();
    expect(guests.handles()).toEqual(before);
  } finally {
    disk.mockRestore();
  }
  await gateway.gateway.backend.sweep();
  expect(guests.handles()).not.toEqual(before);
});

describe("the pool gives way", () => {
  test("to whatever is asked for: the limits are as they are without it", async () => {
    const { gateway, guests } = await start({ LIMIT_MEMORY_MIB: "256" }, [{ ...KIND, count: 4 }]);
    await full(gateway, 4);
    const large = await gateway.create("large", { resources: { vcpus: 1, memory_mib: 200 } });
    expect(large.status).toBe(200);
    expect(guests.handles().length).toBeLessThanOrEqual(0);
    expect((await gateway.create("more")).status).toBe(429);
    await gateway.gateway.backend.sweep();
    expect(gateway.gateway.backend.warm()).toBe(0);
    expect((await gateway.delete(`/v1/sandboxes/${large.body.id}`)).status).toBe(200);
    await full(gateway, 4);
  });

  test("to nothing that it can be used for itself", async () => {
    const { gateway } = await start({ LIMIT_SANDBOXES: "2" });
    await full(gateway);
    for (const name of ["a", "b"]) expect(isWarm(gateway, (await gateway.create(name)).body.id)).toBe(true);
    expect((await gateway.create("c")).status).toBe(429);
    expect(gateway.gateway.backend.warm()).toBe(0);
  });
});

describe("after the end of the server", () => {
  test.each(["stopped", "killed"] as const)(
    "that was %s its pool goes, and what was claimed stays",
    async (how) => {
      const { gateway, guests, home } = await start();
      await full(gateway);
      const { body } = await gateway.create("box");
      await full(gateway);
      const handle = handleOf(gateway, body.id);
      const old = guests.handles().filter((each) => each !== handle);
      if (how === "stopped") await gateway.gateway.stop();
      else await gateway.close();
      const next = await TestGateway.start({ WARM: JSON.stringify([KIND]) }, home);
      await full(next);
      await until(() => old.every((each) => !isMade(next, each)), "the end of the old pool");
      expect(isMade(next, handle)).toBe(true);
      const { data } = (await next.get("/v1/sandboxes")).body;
      expect(data.map(({ id, status }: { id: string; status: string }) => [id, status])).toEqual([
        [body.id, "running"],
      ]);
      // Without the setting there is none, and nothing of it is left.
      await next.close();
      const none = await TestGateway.start({}, home);
      await until(() => guests.handles().every((each) => each === handle), "the end of the pool");
      expect((await none.get("/v1/sandboxes")).body.data).toHaveLength(1);
    },
  );
});

test("one that has ended by itself is not given out, and is replaced", async () => {
  const { gateway, guests } = await start({}, [{ ...KIND, count: 1 }]);
  await full(gateway, 1);
  const [first = ""] = guests.handles();
  writeFileSync(join(gateway.home, "fake", "sandboxes", `${first}.status`), "Crashed\n");
  await until(
    async () => {
      await gateway.get("/v1/sandboxes");
      await gateway.gateway.backend.sweep();
      return !isMade(gateway, first);
    },
    "its end",
    20_000,
  );
  await full(gateway, 1);
  expect(isWarm(gateway, (await gateway.create("box")).body.id)).toBe(true);
});

test("what can't be booted is told of, and keeps nobody from a create", async () => {
  const { gateway } = await start({}, [{ ...KIND, image: "absent" }, { ...KIND, image: "broken" }, KIND]);
  await full(gateway);
  expect(isWarm(gateway, (await gateway.create("box")).body.id)).toBe(true);
  rmSync(join(gateway.home, "fake", "images"), { recursive: true, force: true });
});
