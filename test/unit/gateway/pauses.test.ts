import { readFileSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { beforeAll, describe, expect, test } from "vitest";
import { inSeconds } from "../../../docker/gateway/src/backends/msb/times";
import { sandboxStatus } from "../../../docker/gateway/src/sandboxes/spec";
import { exec } from "../../../setup/exec";
import { running, settled, within } from "./backend-contract/world";
import { FAKE_MSB, TestGateway, until } from "./harness";
import { MsbWorld } from "./msb-world";

let gateway: TestGateway;

const told = (home: string, how: "well" | "fail") => writeFileSync(join(home, "fake", "pauses"), `${how}\n`);
const pausesLog = (home: string) =>
  readFileSync(join(home, "fake", "pauses.log"), "utf8")
    .trim()
    .split("\n");

describe("pause and resume over HTTP", () => {
  beforeAll(async () => {
    gateway = await TestGateway.start();
  });

  test("by id and by name: the answer says it, in a status that clients of the contract know", async () => {
    const { body: box } = await gateway.create("box");
    expect(box.paused).toBe(false);
    for (const path of [`/v1/sandboxes/${box.id}`, "/v1/sandboxes/by-name/box"]) {
      for (const verb of ["pause", "pause", "resume", "resume"]) {
        const { status, body } = await gateway.post(`${path}/${verb}`);
        const now = { id: box.id, status: "running", paused: verb === "pause", started_at: box.started_at };
        expect([verb, status, body]).toMatchObject([verb, 200, now]);
        expect((await gateway.get(path)).body).toEqual(body);
        const { body: page } = await gateway.get("/v1/sandboxes");
        expect(page.data).toMatchObject([now]);
        expect(sandboxStatus.options).toContain(page.data[0].status);
      }
    }
    // As often as something was to be done, and with nothing of a client's.
    expect(pausesLog(gateway.home)).toEqual(
      ["pause", "resume", "pause", "resume"].map((verb) => `${verb} ${box.id}`),
    );
  });

  test("a start resumes it, and it is stopped and removed as one that runs", async () => {
    const path = "/v1/sandboxes/by-name/box";
    await gateway.post(`${path}/pause`);
    const started = await gateway.post(`${path}/start?wait_for=running`);
    expect(started).toMatchObject({ status: 200, body: { status: "running", paused: false } });
    await gateway.post(`${path}/pause`);
    expect(await gateway.post(`${path}/stop`)).toMatchObject({
      ...{ status: 200, body: { status: "stopped", paused: false } },
    });
    for (const verb of ["pause", "resume"]) {
      const { status, body } = await gateway.post(`${path}/${verb}`);
      expect([status, body.error.code]).toEqual([409, "invalid_state_transition"]);
    }
    expect(gateway.made("box")?.status).toBe("Stopped");
    await gateway.post(`${path}/start?wait_for=running`);
    await gateway.post(`${path}/pause`);
    expect((await gateway.delete(path)).status).toBe(200);
    expect((await gateway.post(`${path}/resume`)).status).toBe(404);
    await until(() => gateway.made("box") === undefined, "it to be removed from msb");
  });

  test("a pipe to one that is paused is refused, with what to do", async () => {
    const { body: box } = await gateway.create("piped");
    await gateway.post(`/v1/sandboxes/${box.id}/pause`);
    const headers = { connection: "Upgrade", upgrade: "websocket", "sec-websocket-version": "13" };
    const answer = await new Promise<{ status?: number; text: string }>((resolve, reject) => {
      const asked = request(`${gateway.url}/v1/sandboxes/${box.id}/agent`, {
        headers: {
          ...headers,
          authorization: "Bearer msb_test",
          "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
        },
      });
      asked.on("error", reject);
      asked.on("response", async (response) =>
        resolve({ status: response.statusCode, text: (await response.toArray()).join("") }),
      );
      asked.end();
    });
    expect(answer.status).toBe(409);
    expect(JSON.parse(answer.text).error.message).toContain(`POST /v1/sandboxes/${box.id}/resume`);
    await gateway.delete(`/v1/sandboxes/${box.id}`);
  });

  test("msb's failure is told, and it is as it was; quotas and figures count it as what it holds", async () => {
    const { body: box } = await gateway.create("counted");
    const path = `/v1/sandboxes/${box.id}`;
    told(gateway.home, "fail");
    expect((await gateway.post(`${path}/pause`)).status).toBe(502);
    expect((await gateway.get(path)).body).toMatchObject({ status: "running", paused: false });
    told(gateway.home, "well");
    await gateway.post(`${path}/pause`);
    expect((await gateway.get("/v1/quotas")).body).toMatchObject({
      ...{ paused_sandboxes: 1, concurrent_persistent_running: 1, memory_mib_used: 64, vcpus_used: 1 },
    });
    const { body: metrics } = await gateway.get("/metrics");
    expect(metrics).toContain("msb_gateway_sandboxes_paused 1\n");
    expect(metrics).toContain('msb_gateway_sandboxes{status="running"} 1\n');
    told(gateway.home, "fail");
    for (const verb of ["resume", "start?wait_for=running"])
      expect([verb, (await gateway.post(`${path}/${verb}`)).status]).toEqual([verb, 502]);
    told(gateway.home, "well");
    expect((await gateway.post(`${path}/resume`)).body).toMatchObject({ status: "running", paused: false });
  });

  test("the routes are described", async () => {
    const { paths } = (await gateway.get("/openapi.json")).body;
    for (const verb of ["pause", "resume"])
      for (const path of ["/v1/sandboxes/{id}", "/v1/sandboxes/by-name/{name}"])
        expect(paths[`${path}/${verb}`].post).toMatchObject({
          description: expect.stringMatching(/extension/),
        });
  });
});

describe("what moves a paused sandbox without a request for it", () => {
  const msb = (world: MsbWorld, ...args: string[]) => exec(FAKE_MSB, args, { env: { MSB_HOME: world.home } });
  const seen = async (world: MsbWorld, id: string) => {
    const found = await world.backend.sandboxes.get({ id }, {});
    return found && [found.status, found.paused];
  };

  test("a pause or its end by msb itself is taken in", async () => {
    const world = await MsbWorld.make();
    const { id } = await running(world, "box");
    for (const [verb, paused] of [
      ["pause", true],
      ["resume", false],
    ] as const) {
      await msb(world, verb, "--quiet", "--", id);
      await until(
        async () => JSON.stringify(await seen(world, id)) === JSON.stringify(["running", paused]),
        `${verb} to be seen`,
        20_000,
      );
      expect(await settled(world, id)).toMatchObject({ paused, failure: null });
    }
  });

  test("its maximum duration goes on: it is resumed, and stopped cleanly", async () => {
    const world = await MsbWorld.make();
    const { id } = await running(world, "box", { spec: { lifecycle: { max_duration_secs: 60 } } });
    await world.backend.sandboxes.want(id, "paused");
    await settled(world, id);
    await world.backend.sweep(Date.parse(inSeconds(30)));
    expect(await seen(world, id)).toEqual(["running", true]);
    await world.backend.sweep(Date.parse(inSeconds(61)));
    expect(await settled(world, id)).toMatchObject({ status: "stopped", failure: null });
    expect(pausesLog(world.home)).toEqual([`pause ${id}`, `resume ${id}`]);
    expect(readFileSync(join(world.home, "fake", "stops.log"), "utf8")).not.toContain("--force");
  });

  test("one that can't be resumed is stopped by force after its time", async () => {
    const world = await MsbWorld.make({}, { stopGraceSeconds: 1 });
    const { id } = await running(world, "box");
    await world.backend.sandboxes.want(id, "paused");
    await settled(world, id);
    await world.pauses("fail");
    await world.backend.sandboxes.want(id, "stopped");
    expect(await settled(world, id)).toMatchObject({ status: "stopped", failure: null });
    expect(readFileSync(join(world.home, "fake", "stops.log"), "utf8")).toContain("--force");
  });

  test("a clean stop of the server resumes and stops it, in that order", async () => {
    const world = await MsbWorld.make();
    const { id } = await running(world, "box");
    await world.backend.sandboxes.want(id, "paused");
    await settled(world, id);
    await world.backend.drain(Date.now() + 10_000);
    expect(pausesLog(world.home)).toEqual([`pause ${id}`, `resume ${id}`]);
    expect(await settled(world, id)).toMatchObject({ status: "stopped", failure: null });
    expect(JSON.parse(readFileSync(join(world.home, "gateway", "resume.json"), "utf8"))).toEqual([id]);
  });

  test("the server is killed at any moment of pauses and resumes: what was answered holds", {
    timeout: 120_000,
  }, async () => {
    const world = await MsbWorld.make();
    const names = ["a", "b", "c"];
    const ids = new Map<string, string>();
    for (const name of names) ids.set(name, (await running(world, name)).id);
    let seed = 20_261_127;
    const next = () => {
      seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31;
      return seed / 2 ** 31;
    };
    for (let round = 0; round < 15; round++) {
      const { sandboxes } = world.backend;
      let alive = true;
      /** What was answered last, where nothing was asked for since. */
      const answered = new Map<string, boolean>();
      const work = async (name: string) => {
        const id = ids.get(name) ?? "";
        while (alive) {
          const pause = next() < 0.5;
          answered.delete(name);
          await (pause ? sandboxes.want(id, "paused") : sandboxes.resume(id));
          const { paused } = await sandboxes.until(id, (box) => box.settled, within(20_000));
          if (alive && paused === pause) answered.set(name, paused);
          await sleep(next() * 50);
        }
      };
      const lanes = names.map((name) => work(name).catch(() => undefined));
      await sleep(100 + next() * 300);
      alive = false;
      const before = new Map(answered);
      await world.restart("crashed");
      await Promise.all(lanes);
      for (const name of names) {
        const id = ids.get(name) ?? "";
        const now = await settled(world, id);
        expect([round, name, now.status, now.failure]).toEqual([round, name, "running", null]);
        if (before.has(name)) expect([round, name, now.paused]).toEqual([round, name, before.get(name)]);
        const status = readFileSync(join(world.home, "fake", "sandboxes", `${id}.status`), "utf8").trim();
        expect([round, name, status]).toEqual([round, name, now.paused ? "Paused" : "Running"]);
      }
      expect(await world.backend.usage()).toMatchObject({ total: 3, running: 3 });
    }
  });
});
