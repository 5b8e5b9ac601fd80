import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { running, settled, wanted } from "./backend-contract/world";
import { until } from "./harness";
import { MsbWorld } from "./msb-world";

const inMsb = ({ home }: MsbWorld, id: string) =>
  readFileSync(join(home, "fake", "sandboxes", `${id}.status`), "utf8").trim();
/** What the server noted of those that are to run again; it does so when it waits no longer for what is under way. */
const noted = ({ home }: MsbWorld) => join(home, "gateway", "resume.json");

test("what is still being made, paused or resumed after half of the time for a stop is stopped cleanly, too", async () => {
  const world = await MsbWorld.make();
  const { sandboxes } = world.backend;
  const pausing = await running(world, "pausing");
  const resuming = await running(world, "resuming");
  await sandboxes.want(resuming.id, "paused");
  await settled(world, resuming.id);
  await Promise.all([world.boots("hang"), world.pauses("hang")]);
  const making = await sandboxes.create(wanted("making", { desired: "running" }));
  await sandboxes.answered(making.id);
  await sandboxes.want(pausing.id, "paused");
  await sandboxes.resume(resuming.id);
  const ids = [making.id, pausing.id, resuming.id];
  const drained = world.backend.drain(Date.now() + 10_000);
  await until(() => existsSync(noted(world)), "the end of its patience", 20_000);
  await Promise.all([world.boots("well"), world.pauses("well")]);
  await drained;
  expect(ids.map((id) => inMsb(world, id))).toEqual(["Stopped", "Stopped", "Stopped"]);
  expect(JSON.parse(readFileSync(noted(world), "utf8")).sort()).toEqual([...ids].sort());
  for (const id of ids) expect(await settled(world, id)).toMatchObject({ status: "stopped", failure: null });
}, 30_000);

test("a client's stop that is under way is waited for, and stays one", async () => {
  const world = await MsbWorld.make();
  const { id } = await running(world, "slow", { spec: { env: [{ key: "SLOW_STOP", value: "1" }] } });
  await world.backend.sandboxes.want(id, "stopped");
  await world.backend.drain(Date.now() + 10_000);
  expect(inMsb(world, id)).toBe("Stopped");
  expect(existsSync(noted(world))).toBe(false);
});

test("no pause of an idle sandbox begins while the server is being stopped", async () => {
  const world = await MsbWorld.make({}, { idlePauseSeconds: 0.05 });
  const { id } = await running(world, "idle");
  await world.boots("hang");
  await world.backend.sandboxes.create(wanted("making", { desired: "running" }));
  const drained = world.backend.drain(Date.now() + 10_000);
  await sleep(100);
  const looked = world.backend.sweep();
  await world.boots("well");
  await Promise.all([drained, looked]);
  expect(inMsb(world, id)).toBe("Stopped");
  expect(existsSync(join(world.home, "fake", "pauses.log"))).toBe(false);
});
