import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { randomFrom, seedFromEnvironment } from "../../harness/random";
import { listed, refused, running, settled, within } from "./backend-contract/world";
import { TestGateway, until } from "./harness";
import { inMsb, make, msb, paused, recorded, seen, talk, wait } from "./idle-world";
import { MsbWorld } from "./msb-world";

const change = () => ({ policy: "no_restart" as const, secrets: [], secrets_remove: ["NONE"] });
const uses: Record<string, (world: MsbWorld, id: string) => Promise<unknown>> = {
  "a connection to its agent": async (world, id) => (await talk(world, id))(),
  "a plan of a change": ({ backend }, id) => backend.sandboxes.planModification(id, change()),
  "a change": ({ backend }, id) => backend.sandboxes.modify(id, change()),
  "a snapshot": async ({ backend }, id) => {
    const wanted = { name: `of-${id}`, labels: {}, owner: "ann", sandboxId: id, force: true };
    const { id: snapshot } = await backend.snapshots.create(wanted);
    expect(await backend.snapshots.until(snapshot, within(20_000))).toMatchObject({ status: "succeeded" });
  },
  "a start": async (world, id) => {
    await world.backend.sandboxes.want(id, "running");
    await settled(world, id);
  },
  "a resume": async (world, id) => {
    await world.backend.sandboxes.resume(id);
    await settled(world, id);
  },
};

describe("a sandbox that nobody uses", () => {
  test.each(Object.entries(uses))("is paused, unseen by clients, and resumed by %s", async (_what, use) => {
    const world = await make();
    const { id } = await running(world, "box");
    for (const _round of [1, 2]) {
      await paused(world, id);
      await use(world, id);
      expect(inMsb(world, id)).toBe("Running");
      expect(await seen(world, id)).toEqual(["running", false]);
    }
  });

  test("is not paused while somebody uses it", async () => {
    const world = await make();
    const { id } = await running(world, "box");
    const close = await talk(world, id);
    const reader = new AbortController();
    const query = { sources: new Set(["stdout"]), signal: reader.signal };
    const read = (async () => {
      for await (const _entries of world.backend.sandboxes.logs(id, query));
    })();
    for (const _round of [1, 2]) {
      await wait(world, id);
      expect(inMsb(world, id)).toBe("Running");
    }
    await close();
    await wait(world, id);
    expect(inMsb(world, id), "a log is followed").toBe("Running");
    reader.abort();
    await read;
    await paused(world, id);
  });

  test("is not paused while a use goes on that began before a client paused it", async () => {
    const world = await make();
    const { id } = await running(world, "box");
    const close = await talk(world, id);
    await world.backend.sandboxes.want(id, "paused");
    await wait(world, id);
    await world.backend.sandboxes.resume(id);
    await settled(world, id);
    await wait(world, id);
    expect(inMsb(world, id)).toBe("Running");
    await close();
    await paused(world, id);
  });

  test("is used by whoever resumes it with msb itself, too, for as long as by any other", async () => {
    const world = await make();
    const { id } = await running(world, "box");
    for (const _round of [1, 2]) {
      await paused(world, id);
      await until(() => recorded(world, id) === "paused", "its record");
      await msb(world, "resume", "--quiet", "--", id);
      await until(async () => {
        await listed(world);
        return recorded(world, id) === "running";
      }, "the server to see it");
      await world.backend.sweep();
      expect(inMsb(world, id)).toBe("Running");
    }
    await paused(world, id);
  });

  test("is never paused where it was made with msb itself", async () => {
    const world = await make();
    const conf = join(world.home, "conf.json");
    writeFileSync(conf, `${JSON.stringify({ oci: "starter", cpus: 1, memory: "64M" })}\n`);
    await msb(world, "create", "--conf", conf, "--name", "mine");
    let id = "";
    await until(async () => {
      id = (await listed(world))[0]?.id ?? "";
      return id !== "";
    }, "the server to see it");
    for (const _round of [1, 2]) {
      await wait(world, id);
      expect([inMsb(world, "mine"), await seen(world, id)]).toEqual(["Running", ["running", false]]);
    }
  });

  test("is a client's own once it is paused on request", async () => {
    const world = await make();
    const { id } = await running(world, "box");
    await paused(world, id);
    await world.backend.sandboxes.want(id, "paused");
    expect(await seen(world, id)).toEqual(["running", true]);
    await refused(talk(world, id), "conflict");
    await world.restart("crashed");
    expect(await seen(world, id)).toEqual(["running", true]);
  });

  test("stops after its own idle timeout, which msb can't keep while it is paused", async () => {
    const world = await make();
    const { id } = await running(world, "box", { spec: { lifecycle: { idle_timeout_secs: 1 } } });
    const later = await running(world, "later", { spec: { lifecycle: { idle_timeout_secs: 3600 } } });
    await paused(world, id);
    await paused(world, later.id);
    await sleep(1_000);
    await wait(world, id);
    expect(await seen(world, id)).toEqual(["stopped", false]);
    expect(inMsb(world, later.id)).toBe("Paused");
    await world.backend.sandboxes.want(id, "running");
    expect(await settled(world, id)).toMatchObject({ status: "running" });
  });

  test("is told of as running when it can't be resumed, and works again when it can", async () => {
    const world = await make();
    const { id } = await running(world, "box");
    await paused(world, id);
    await world.pauses("fail");
    const error = await refused(talk(world, id), "conflict");
    expect(error.message).toContain("can't be resumed");
    await world.pauses("well");
    await (await talk(world, id))();
  });

  test("is resumed and stopped cleanly with the server, and runs again", async () => {
    const world = await make();
    const { id } = await running(world, "box");
    await paused(world, id);
    await world.restart("drained");
    await until(async () => (await seen(world, id))[0] === "running", "its start", 20_000);
    expect(inMsb(world, id)).toBe("Running");
  });
});

test("whatever clients do, and whenever the server looks or crashes, they find what they asked for", async () => {
  const seed = seedFromEnvironment("IDLE_SEED");
  console.log(`IDLE_SEED=${seed}`);
  const random = randomFrom(seed);
  const world = await MsbWorld.make({}, { idlePauseSeconds: 0.02 });
  const names = ["a", "b", "c"];
  const ids = await Promise.all(names.map(async (name) => (await running(world, name)).id));
  for (let round = 0; round < 4; round++) {
    let alive = true;
    const looking = (async () => {
      for (; alive; await sleep(random.between(1, 40))) await world.backend.sweep();
    })();
    const client = async (id: string) => {
      for (let step = 0; step < 12; step++) {
        await sleep(random.between(0, 60));
        const { sandboxes } = world.backend;
        const what = random.pick(["talk", "talk", "pause", "get"] as const);
        if (what === "talk") {
          const close = await talk(world, id);
          await sleep(random.between(0, 60));
          expect([seed, id, inMsb(world, id)]).toEqual([seed, id, "Running"]);
          await close();
        } else if (what === "pause") {
          await sandboxes.want(id, "paused");
          await sandboxes.until(id, (box) => box.settled, within(20_000));
          expect([seed, id, await seen(world, id)]).toEqual([seed, id, ["running", true]]);
          await refused(talk(world, id), "conflict");
          await sandboxes.resume(id);
          await sandboxes.until(id, (box) => !box.paused && box.settled, within(20_000));
        } else expect([seed, id, await seen(world, id)]).toEqual([seed, id, ["running", false]]);
      }
    };
    await Promise.all(ids.map(client));
    alive = false;
    await world.restart("crashed");
    await looking;
    for (const id of ids) {
      await settled(world, id);
      expect([seed, id, await seen(world, id)]).toEqual([seed, id, ["running", false]]);
      await world.agent(id);
    }
  }
});

test("the setting is a variable of the server's, and a quota", async () => {
  const gateway = await TestGateway.start({ LIMIT_IDLE_PAUSE_SECONDS: "1" });
  const { body: box } = await gateway.create("box");
  await until(() => gateway.made("box")?.status === "Paused", "its pause", 30_000);
  expect((await gateway.get(`/v1/sandboxes/${box.id}`)).body).toMatchObject({
    status: "running",
    paused: false,
  });
  expect((await gateway.get("/v1/quotas")).body.idle_pause_seconds).toBe(1);
});
