import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { expect } from "vitest";
import { type Asked, ask } from "../../harness/ask";
import type { TestStack } from "../../harness/stack";

/** The outer machine as an emulated host sees it: what listens on loopback here answers there. */
export const OUTER = "10.0.2.2";

/** A web server of this machine, on loopback, that guests are after. */
export async function target(): Promise<{ port: number; close: () => void }> {
  const server = createServer((_request, response) => response.end("reached"));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { port: (server.address() as AddressInfo).port, close: () => void server.close() };
}

/**
 * A sandbox whose client asks the server for the whole network.
 * @param snapshot - what it starts from; default: the built-in image
 */
export async function createGreedy(
  server: Asked,
  key: string,
  name: string,
  snapshot?: string,
): Promise<void> {
  const source = snapshot
    ? { source: "disk_snapshot", disk_snapshot_ref: { type: "managed", id: snapshot } }
    : { source: "oci", reference: "starter" };
  const everything = { direction: "any", destination: "any", protocols: [], ports: [], action: "allow" };
  const path = "/v1/sandboxes?start=true&wait_for=running&wait_timeout=90";
  const answer = await ask(server, path, {
    method: "POST",
    key,
    body: {
      name,
      ...source,
      network: {
        policy: { default_egress: "allow", default_ingress: "allow", rules: [everything] },
        strict: snapshot !== undefined,
      },
    },
  });
  expect(answer.status, answer.text).toBe(200);
}

/** Forks a sandbox; the forks run when this resolves. */
export async function forksOf(server: Asked, key: string, source: string, names: string[]): Promise<void> {
  const path = `/v1/sandboxes/by-name/${source}/fork`;
  const answer = await ask(server, path, { method: "POST", key, body: { names } });
  expect(answer.status, answer.text).toBe(200);
  const forks: { name: string; status: string }[] = JSON.parse(answer.text).forks;
  const running = names.map((name) => ({ name, status: "running" }));
  expect(forks.map(({ name, status }) => ({ name, status }))).toEqual(running);
}

/** Makes a snapshot of a sandbox, and waits for it. @returns its digest */
export async function snapshotOf(server: Asked, key: string, sandbox: string, name: string): Promise<string> {
  const found = await ask(server, `/v1/sandboxes/by-name/${sandbox}`, { key });
  const { id } = JSON.parse(found.text);
  const made = await ask(server, "/v1/snapshots", { method: "POST", key, body: { sandbox_id: id, name } });
  expect(made.status, made.text).toBe(202);
  let operation = JSON.parse(made.text);
  const path = `/v1/snapshot-operations/${operation.id}`;
  const isOver = () => operation.status === "succeeded" || operation.status === "failed";
  const look = async () => {
    if (!isOver()) operation = JSON.parse((await ask(server, path, { key })).text);
    return isOver();
  };
  await expect.poll(look, { timeout: 120_000, interval: 1_000 }).toBe(true);
  expect(operation.status, JSON.stringify(operation.error)).toBe("succeeded");
  return operation.result.digest;
}

/** The digest of a snapshot; undefined where there is none of that name. */
export async function digestOf(server: Asked, key: string, name: string): Promise<string | undefined> {
  const { text } = await ask(server, `/v1/snapshots/by-name/${name}`, { key });
  return JSON.parse(text).digest;
}

/**
 * Which of the addresses (`host:port`) answer in a guest. An answer counts, not a connection: msb may accept one
 * before it knows where it leads. `GATEWAY` stands for what the guest takes for its router.
 */
export function probe(addresses: string[]): string {
  return [
    "GATEWAY=$(ip route | sed -n 's/^default via \\([0-9.]*\\).*/\\1/p')",
    `for to in ${addresses.map((address) => `"${address.replace("GATEWAY", "$GATEWAY")}"`).join(" ")}; do`,
    "  host=$(echo $to | cut -d: -f1) port=$(echo $to | cut -d: -f2)",
    "  said=$(printf 'GET /healthz HTTP/1.0\\r\\n\\r\\n' | nc -w 3 $host $port 2>/dev/null | head -c 4)",
    '  case $said in HTTP|SSH-) echo "$to" ;; esac',
    "done",
    "echo done",
  ].join("\n");
}

/** Runs the probe in a sandbox; the router's address is written as GATEWAY again. */
export async function reached(stack: TestStack, name: string, addresses: string[]): Promise<string[]> {
  const { stdout, output } = await stack.sandbox("exec", name, "--", "sh", "-c", probe(addresses));
  return readProbe(stdout, addresses, output);
}

export function readProbe(stdout: string, addresses: string[], output: string): string[] {
  const lines = stdout.trim().split("\n");
  expect(lines.pop(), output).toBe("done");
  return lines.map((line) => (addresses.includes(line) ? line : line.replace(/^[\d.]+/, "GATEWAY")));
}
