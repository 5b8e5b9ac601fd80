import { setTimeout as sleep } from "node:timers/promises";
import { expect } from "vitest";
import { type Asked, ask } from "../../harness/ask";
import type { TestStack } from "../../harness/stack";
import { forksOf } from "./guest-network";

/** How long the microVM is paused. */
const STILL_MS = 12_000;

/** A request about a sandbox by its name, and its answer. */
async function request(
  server: Asked,
  key: string,
  path: string,
  body: object = {},
): Promise<Record<string, unknown>> {
  const answer = await ask(server, `/v1/sandboxes/by-name/${path}`, { method: "POST", key, body });
  expect(answer.status, `${path}: ${answer.text}`).toBe(200);
  return JSON.parse(answer.text);
}

/** What a real microVM keeps while it is paused, and what its forks have of it. */
export async function pausesAndForks(stack: TestStack, server: Asked, key: string): Promise<void> {
  const inGuest = async (name: string, line: string) => {
    const { exitCode, stdout, output } = await stack.sandbox("exec", name, "--", "sh", "-c", line);
    expect(exitCode, output).toBe(0);
    return stdout.trim();
  };
  const policyOf = async (name: string) => {
    const { stdout } = await stack.sandbox("inspect", name, "--format", "json");
    return JSON.parse(stdout).config.network.policy;
  };
  const spec = {
    name: "held",
    source: "oci",
    reference: "starter",
    resources: { vcpus: 1, memory_mib: 128 },
  };
  const path = "/v1/sandboxes?start=true&wait_for=running&wait_timeout=90";
  const made = await ask(server, path, { method: "POST", key, body: spec });
  expect(made.status, made.text).toBe(200);
  const { id } = JSON.parse(made.text);
  const told = async () => {
    const { text } = await ask(server, `/v1/sandboxes/${id}`, { key });
    const { status, paused } = JSON.parse(text);
    return [status, paused];
  };
  // On a slow host the server answers before it is done, and msb's own commands do not wait for it.
  const runs = async () => {
    const within = { timeout: 120_000, interval: 1_000 };
    await expect.poll(told, within).toEqual(["running", false]);
    const works = async () => (await stack.sandbox("exec", "held", "--", "true")).exitCode;
    await expect.poll(works, within).toBe(0);
  };
  await runs();

  const pid = await inGuest(
    "held",
    "echo kept > /dev/shm/mark; sleep 100000 </dev/null >/dev/null 2>&1 & echo $!",
  );
  const state = `kill -0 ${pid} && cat /dev/shm/mark /proc/sys/kernel/random/boot_id /proc/sys/kernel/random/uuid`;
  const before = (await inGuest("held", state)).split("\n");
  expect(before[0]).toBe("kept");

  // Its processes stand still: one that adds a line a second adds none meanwhile. What msb's own list says is no proof:
  // it takes a microVM for running that has not answered within 250 ms.
  const beat = "while echo >> /dev/shm/beats; do sleep 1; done </dev/null >/dev/null 2>&1 &";
  await inGuest("held", beat);
  const beats = async () => Number(await inGuest("held", "wc -l < /dev/shm/beats"));
  const began = Date.now();
  const first = await beats();
  for (const _again of [1, 2])
    expect(await request(server, key, "held/pause")).toMatchObject({ status: "running", paused: true });
  const paused = Date.now();
  await sleep(STILL_MS);
  expect(await told()).toEqual(["running", true]);
  const resumed = Date.now();
  expect(await request(server, key, "held/resume")).toMatchObject({ status: "running", paused: false });
  await runs();
  const beaten = (await beats()) - first;
  const ranMs = Date.now() - began - (resumed - paused);
  expect(beaten, "lines of a process that was paused").toBeLessThan((ranMs + STILL_MS / 2) / 1000);
  expect((await inGuest("held", state)).split("\n").slice(0, 2)).toEqual(before.slice(0, 2));

  await request(server, key, "held/pause");
  await forksOf(server, key, "held", ["fork-a", "fork-b"]);
  const policy = await policyOf("held");
  expect(policy.rules.length).toBeGreaterThan(3);
  const random = new Set([before[2]]);
  for (const name of ["fork-a", "fork-b"]) {
    const line = `${state}; ls /root/mine 2>/dev/null || echo none; echo > /root/mine`;
    const [mark, bootId, uuid, others] = (await inGuest(name, line)).split("\n");
    expect([name, mark, bootId, others]).toEqual([name, "kept", before[1], "none"]);
    random.add(uuid);
    expect(await policyOf(name)).toEqual(policy);
  }
  expect(random.size).toBe(3);
  // With more microVMs than the host has CPUs for, msb's own list takes it for running: it is paused all the same.
  expect(await told()).toEqual(["running", true]);
  await request(server, key, "held/resume");
  await runs();
  const line = `${state} && test ! -e /root/mine && echo written > /root/file`;
  expect((await inGuest("held", line)).split("\n").slice(0, 2)).toEqual(before.slice(0, 2));
  await request(server, key, "held/pause");
  await forksOf(server, key, "held", ["fork-c"]);
  expect(await inGuest("fork-c", "cat /root/file /dev/shm/mark")).toBe("written\nkept");
  // One that is paused stops cleanly, with its disk.
  expect(await request(server, key, "held/stop?wait_for=stopped")).toMatchObject({
    status: "stopped",
    paused: false,
  });
  await request(server, key, "held/start?wait_for=running");
  expect(await inGuest("held", "cat /root/file")).toBe("written");
  // A fork is a sandbox like any other.
  expect(await request(server, key, "fork-a/stop?wait_for=stopped")).toMatchObject({ status: "stopped" });
  await request(server, key, "fork-a/start?wait_for=running");
  expect(await inGuest("fork-a", "ls /root/mine")).toBe("/root/mine");
  for (const name of ["held", "fork-a", "fork-b", "fork-c"])
    expect((await ask(server, `/v1/sandboxes/by-name/${name}`, { method: "DELETE", key })).status).toBe(200);
}
