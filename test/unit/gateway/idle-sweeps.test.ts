import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { ServiceError } from "../../../docker/gateway/src/errors";
import { refused, running, within } from "./backend-contract/world";
import { until } from "./harness";
import { asked, IDLE, inMsb, make, paused, seen, talk, wait } from "./idle-world";

describe("a sandbox that nobody uses", () => {
  test("is paused with few others at once: the next who is used does not wait for its own pause", async () => {
    const world = await make();
    const all = await Promise.all([..."abcdef"].map((name) => running(world, name)));
    await world.pauses("hang");
    await sleep(IDLE * 1000 + 20);
    const swept = world.backend.sweep();
    await until(() => asked(world).length >= 4, "the first pauses", 20_000);
    // For those that must not come.
    await sleep(500);
    expect(asked(world)).toHaveLength(4);
    const first = new Set(asked(world).map((line) => line.split(" ")[1]));
    const others = all.filter(({ id }) => !first.has(id));
    const closes = await Promise.all(others.map(({ id }) => talk(world, id)));
    await world.pauses("well");
    await swept;
    for (const { id } of all) expect(inMsb(world, id)).toBe(first.has(id) ? "Paused" : "Running");
    for (const close of closes) await close();
  });

  test("is left alone for as long once more where it can't be paused, and nothing of that is told", async () => {
    const world = await make();
    const { id } = await running(world, "box");
    await world.pauses("fail");
    for (const tries of [1, 2]) {
      const isTried = async () => {
        await wait(world, id);
        return asked(world).length === tries;
      };
      await until(isTried, "a try", 20_000);
      await world.backend.sweep();
      expect(asked(world)).toHaveLength(tries);
      const now = { status: "running", paused: false, settled: true, failure: null };
      expect(await world.backend.sandboxes.get({ id }, {})).toMatchObject(now);
    }
    await world.pauses("well");
    await paused(world, id);
  });

  test("is refused in terms of the service while its resume takes too long", async () => {
    const world = await make();
    const { id } = await running(world, "box");
    await paused(world, id);
    await world.pauses("hang");
    const late = await refused(world.backend.sandboxes.openAgent(id, within(50)), "timeout");
    expect(late.message).toContain("not resumed in time");
    const gone = new ServiceError("conflict", "the client is gone");
    const leaving = AbortSignal.abort(gone);
    expect(await refused(world.backend.sandboxes.openAgent(id, leaving), "conflict")).toBe(gone);
    await world.pauses("well");
    await (await talk(world, id))();
  });

  test("is stopped after its own idle timeout by the next process, too", async () => {
    const world = await make();
    const { id } = await running(world, "box", { spec: { lifecycle: { idle_timeout_secs: 1 } } });
    await paused(world, id);
    await world.restart("crashed");
    await wait(world, id);
    expect(inMsb(world, id)).toBe("Paused");
    await sleep(1_000);
    await wait(world, id);
    expect(await seen(world, id)).toEqual(["stopped", false]);
  });
});
