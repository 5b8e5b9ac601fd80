import { randomUUID } from "node:crypto";
import { chmodSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import type { Actions } from "../../../docker/gateway/src/backends/msb/actions";
import { egressPolicy } from "../../../docker/gateway/src/backends/msb/egress";
import { Lifecycle } from "../../../docker/gateway/src/backends/msb/lifecycle";
import { Resume } from "../../../docker/gateway/src/backends/msb/resume";
import { SandboxIndex } from "../../../docker/gateway/src/backends/msb/sandbox-index";
import { newRecord, type SandboxRecord } from "../../../docker/gateway/src/backends/msb/sandbox-record";
import { wanted } from "./backend-contract/world";
import { FAKE_MSB, TestGateway, temporaryFolder, until } from "./harness";

test.each([
  ["a stop", "stop", (gateway: TestGateway, id: string) => gateway.post(`/v1/sandboxes/${id}/stop`)],
  ["a removal", "rm", (gateway: TestGateway, id: string) => gateway.delete(`/v1/sandboxes/${id}`)],
])("%s waits for a change of the same sandbox", async (_what, command, ask) => {
  const home = temporaryFolder();
  const MSB_PATH = join(home, "msb");
  const log = join(home, "commands");
  const noted = `case $1 in modify | ${command}) echo "begin $1" >>${log}; "${FAKE_MSB}" "$@"; code=$?; echo "end $1" >>${log}; exit $code ;; esac`;
  writeFileSync(MSB_PATH, `#!/bin/sh\n${noted}\nexec ${FAKE_MSB} "$@"\n`);
  chmodSync(MSB_PATH, 0o755);
  const gateway = await TestGateway.start({ MSB_PATH }, home);
  const { id } = (await gateway.create("box")).body;
  writeFileSync(join(home, "fake", "slow-modify"), "");
  const lines = () => (existsSync(log) ? readFileSync(log, "utf8").trim().split("\n") : []);
  const changed = gateway.request("PUT", `/v1/sandboxes/${id}`, { body: { secrets_remove: ["A_KEY"] } });
  await until(() => lines().includes("begin modify"), "the change");
  expect((await ask(gateway, id)).status).toBe(200);
  expect((await changed).status).toBe(200);
  await until(() => lines().includes(`end ${command}`), "the end");
  expect(lines()).toEqual(["begin modify", "end modify", `begin ${command}`, `end ${command}`]);
});

/** More than are stopped at once. */
const COUNT = 70;

test.each(["stopped", "removed"] as const)(
  "one that its client wants %s while it waits for the stop of the server is asked for it once",
  async (desired) => {
    const running = (name: string): SandboxRecord => ({
      ...newRecord(wanted(name, { desired: "running" }), egressPolicy.parse({}), randomUUID()),
      ...{ state: "running", answered: true },
    });
    const index = new SandboxIndex(Array.from({ length: COUNT }, (_each, at) => running(`s${at}`)));
    /** What is under way, by handle, and what began beside it. */
    const underWay = new Set<string>();
    const overlaps: string[] = [];
    const calls: string[] = [];
    const work = async (what: string, handle: string) => {
      if (underWay.has(handle)) overlaps.push(`${what} ${handle}`);
      calls.push(handle);
      underWay.add(handle);
      await sleep(200);
      underWay.delete(handle);
      return {};
    };
    const nothing = async () => ({});
    const actions: Actions = {
      ...{ make: nothing, start: nothing, pause: nothing, resume: nothing },
      stop: ({ handle }) => work("stop", handle),
      remove: ({ handle }) => work("remove", handle),
    };
    const saved = async () => undefined;
    const store = { put: saved, delete: saved, deletePayload: saved };
    const log = { info: () => undefined, warn: () => undefined, error: () => undefined };
    const lifecycle = new Lifecycle(index, store, actions, log);
    const stopNow = async (handle: string) => void (await work("stop of the server", handle));
    const resume = new Resume(temporaryFolder(), lifecycle, { stopNow }, log, async () => undefined);

    const all = [...index.all()];
    const stopped = resume.stopAll(Date.now() + 20_000);
    await until(() => underWay.size > 0, "the first stops");
    const late = all.filter(({ record: { handle } }) => !underWay.has(handle));
    expect(late.length).toBeGreaterThan(0);
    await sleep(100);
    for (const entry of late) await lifecycle.want(entry, desired);
    await stopped;
    lifecycle.close();
    expect(overlaps).toEqual([]);
    expect(new Set(calls).size).toBe(COUNT);
    expect(calls).toHaveLength(COUNT);
  },
);
