import { expect } from "vitest";
import { type Asked, ask } from "../../harness/ask";
import type { TestStack } from "../../harness/stack";

type Body = Record<string, unknown> & { forks?: { name: string; status: string }[] };

/** A request about a sandbox by its name, and its answer. */
async function request(server: Asked, key: string, path: string, body: object = {}): Promise<Body> {
  const answer = await ask(server, `/v1/sandboxes/by-name/${path}`, { method: "POST", key, body });
  expect(answer.status, `${path}: ${answer.text}`).toBe(200);
  return JSON.parse(answer.text);
}

/** Forks that run. */
export async function forksOf(server: Asked, key: string, source: string, names: string[]): Promise<void> {
  const { forks } = await request(server, key, `${source}/fork`, { names });
  const running = names.map((name) => ({ name, status: "running" }));
  expect(forks?.map(({ name, status }) => ({ name, status }))).toEqual(running);
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
  const statusInMsb = async (name: string) => {
    const rows: { name: string; status: string }[] = JSON.parse(
      (await stack.sandbox("ls", "--format", "json")).stdout,
    );
    return rows.find((row) => row.name === name)?.status;
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
  const pid = await inGuest(
    "held",
    "echo kept > /dev/shm/mark; sleep 100000 </dev/null >/dev/null 2>&1 & echo $!",
  );
  const state = `kill -0 ${pid} && cat /dev/shm/mark /proc/sys/kernel/random/boot_id /proc/sys/kernel/random/uuid`;
  const before = (await inGuest("held", state)).split("\n");
  expect(before[0]).toBe("kept");

  for (const _again of [1, 2])
    expect(await request(server, key, "held/pause")).toMatchObject({ status: "running", paused: true });
  await expect.poll(() => statusInMsb("held"), { timeout: 120_000 }).toBe("Paused");
  expect(await request(server, key, "held/resume")).toMatchObject({ status: "running", paused: false });
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
  // One that is paused stops cleanly, with its disk.
  await request(server, key, "held/resume");
  await inGuest("held", "test ! -e /root/mine && echo written > /root/file");
  await request(server, key, "held/pause");
  expect(await request(server, key, "held/stop")).toMatchObject({ status: "stopped", paused: false });
  await request(server, key, "held/start?wait_for=running");
  expect(await inGuest("held", "cat /root/file")).toBe("written");
  // A fork is a sandbox like any other.
  expect(await request(server, key, "fork-a/stop")).toMatchObject({ status: "stopped" });
  await request(server, key, "fork-a/start?wait_for=running");
  expect(await inGuest("fork-a", "ls /root/mine")).toBe("/root/mine");
  for (const name of ["held", "fork-a", "fork-b"])
    expect((await ask(server, `/v1/sandboxes/by-name/${name}`, { method: "DELETE", key })).status).toBe(200);
}
