import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { STOP_GRACE_SECONDS } from "../../../docker/gateway/src/backends/msb/assembly";
import { SandboxService } from "../../../docker/gateway/src/sandboxes/service";
import { running, settled } from "./backend-contract/world";
import { TestGateway, until } from "./harness";
import { MsbWorld } from "./msb-world";

/** A guest that needs so many seconds to stop gets so many. */
async function stopped(needs: number, stopGraceSeconds: number) {
  const world = await MsbWorld.make({}, { stopGraceSeconds });
  const { id } = await running(world, "slow", {
    spec: { env: [{ key: "SLOW_STOP", value: String(needs) }] },
  });
  const sandbox = await world.backend.sandboxes.get({ id }, {});
  if (!sandbox) throw new Error("it is gone");
  const answer = await new SandboxService(world.backend.sandboxes, 300).stop(sandbox);
  const log = () => readFileSync(join(world.home, "sandboxes", id, "logs", "exec.log"), "utf8");
  return { world, id, answer, log };
}

describe("a stop", () => {
  test("is answered `stopping` while the guest takes its time, and kills nothing", async () => {
    const { world, id, answer, log } = await stopped(2, 10);
    expect(answer).toMatchObject({ status: "stopping", failure: null });
    expect(await world.backend.sandboxes.get({ id }, {})).toMatchObject({ status: "stopping" });
    expect(await settled(world, id)).toMatchObject({ status: "stopped", failure: null });
    expect(log()).toContain("stopped");
    expect(log()).not.toContain("killed");
  });

  test("kills what takes longer than its time", async () => {
    const { world, id, log } = await stopped(5, 1);
    expect(await settled(world, id)).toMatchObject({ status: "stopped" });
    expect(log()).toContain("killed");
  });

  test("gives a guest more than a minute, and less than the 360 s that clients wait", async () => {
    expect(STOP_GRACE_SECONDS).toBeGreaterThan(60);
    expect(STOP_GRACE_SECONDS).toBeLessThan(360);
    const gateway = await TestGateway.start();
    const { id } = (await gateway.create("box")).body;
    expect((await gateway.post(`/v1/sandboxes/${id}/stop`)).body).toMatchObject({ status: "stopped" });
    const asked = readFileSync(join(gateway.home, "fake", "stops.log"), "utf8");
    expect(asked).toBe(`--timeout ${STOP_GRACE_SECONDS} -- ${id}\n`);
  });
});

test("a removal that was answered holds, though a stop came at the same time", async () => {
  const gateway = await TestGateway.start();
  const { id } = (await gateway.create("box", { env: [{ key: "SLOW_STOP", value: "1" }] })).body;
  const first = gateway.post(`/v1/sandboxes/${id}/stop`);
  await sleep(200);
  const [removed] = await Promise.all([
    gateway.delete(`/v1/sandboxes/${id}`),
    gateway.post(`/v1/sandboxes/${id}/stop`),
  ]);
  expect(removed.status).toBe(200);
  await first;
  expect((await gateway.get(`/v1/sandboxes/${id}`)).status).toBe(404);
  await until(() => gateway.made("box") === undefined, "its removal");
});
