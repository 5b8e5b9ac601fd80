import { expect } from "vitest";
import { type Asked, ask } from "../../harness/ask";
import type { TestStack } from "../../harness/stack";
import { reached } from "./guest-network";

/** What a stack keeps booted for {@link takesWarm}: of a size that nothing else asks for. */
export const WARM = [{ image: "starter", count: 1, cpus: 1, memoryMiB: 300 }];

/** A figure of the server's. */
async function figure(server: Asked, key: string, name: string): Promise<number> {
  const { text } = await ask(server, "/metrics", { key });
  const line = text.split("\n").find((each) => each.startsWith(`${name} `));
  return Number(line?.split(" ").at(-1) ?? 0);
}

/** Makes a sandbox as the clients of 0.7 do whose user has said nothing but its size. @returns the seconds it took */
async function create(server: Asked, key: string, name: string, memory_mib: number): Promise<number> {
  const began = performance.now();
  const body = { name, source: "oci", reference: "starter", resources: { vcpus: 1, memory_mib } };
  const path = "/v1/sandboxes?start=true&wait_for=running&wait_timeout=90";
  const answer = await ask(server, path, {
    method: "POST",
    key,
    body: { ...body, network: { strict: true } },
  });
  expect([answer.status, answer.text]).toEqual([200, expect.stringContaining('"running"')]);
  return (performance.now() - began) / 1000;
}

/** A create that fits gets a sandbox that was booted before, in a fraction of the time, and under the same rules. */
export async function takesWarm(
  stack: TestStack,
  { server, key }: { server: Asked; key: string },
  { open, closed }: Record<"open" | "closed", string[]>,
): Promise<void> {
  const ready = () => figure(server, key, "msb_gateway_warm_sandboxes");
  await expect.poll(ready, { timeout: 120_000, interval: 1_000 }).toBe(1);
  const hits = () => figure(server, key, 'msb_gateway_warm_claim_seconds_count{result="hit"}');
  const before = await hits();
  const fast = await create(server, key, "quick", 300);
  expect(await hits()).toBe(before + 1);
  const cold = await create(server, key, "cold", 301);
  console.log(`create: ${fast.toFixed(2)} s of a warm sandbox, ${cold.toFixed(2)} s with a boot`);
  expect(fast).toBeLessThan(cold / 2);

  const names = async (name: string) => {
    const script = "hostname; grep -w -e quick -e sandbox /etc/hosts";
    const { stdout } = await stack.sandbox("exec", name, "--", "sh", "-c", script);
    return new Set(stdout.match(/\b(quick|sandbox)\b/g));
  };
  expect(await names("quick")).toEqual(new Set(["quick"]));
  expect(await reached(stack, "quick", [...open, ...closed])).toEqual(open);
  // After a boot of its own it is still what it was made to be.
  for (const verb of ["stop", "start"]) {
    const path = `/v1/sandboxes/by-name/quick/${verb}?wait_for=${verb === "stop" ? "stopped" : "running"}`;
    const answer = await ask(server, path, { method: "POST", key });
    expect(answer.status, answer.text).toBe(200);
  }
  expect(await names("quick")).toEqual(new Set(["quick"]));
  for (const name of ["quick", "cold"]) {
    const answer = await ask(server, `/v1/sandboxes/by-name/${name}`, { method: "DELETE", key });
    expect(answer.status, answer.text).toBe(200);
  }
}
