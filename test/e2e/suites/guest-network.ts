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

/** A sandbox whose client asks the server for the whole network. */
export async function createGreedy(server: Asked, key: string, name: string): Promise<void> {
  const everything = { direction: "any", destination: "any", protocols: [], ports: [], action: "allow" };
  const path = "/v1/sandboxes?start=true&wait_for=running&wait_timeout=90";
  const answer = await ask(server, path, {
    method: "POST",
    key,
    body: {
      name,
      source: "oci",
      reference: "starter",
      network: {
        policy: { default_egress: "allow", default_ingress: "allow", rules: [everything] },
        strict: false,
      },
    },
  });
  expect(answer.status, answer.text).toBe(200);
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
