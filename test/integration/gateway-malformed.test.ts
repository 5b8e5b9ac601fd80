import { mkdirSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, it } from "vitest";
import WebSocket from "ws";
import { agentSocketPath, bundleGateway, createBody, GatewayProcess } from "../harness/gateway";
import { API_MAKERS } from "../harness/malformed-api";
import { badFrames, badUpgrade } from "../harness/malformed-frames";
import { HTTP_MAKERS } from "../harness/malformed-http";
import type { Maker } from "../harness/malformed-requests";
import { randomFrom, seedFromEnvironment } from "../harness/random";
import { type RawCase, sendRaw } from "../harness/raw-socket";
import { removeFolder } from "../harness/remove-folder";
import { schemathesis } from "../harness/schemathesis";
import { SlowSenders } from "../harness/slow-senders";

const REQUESTS = 10_000;
const WARM_UP = 2_000;
const AT_ONCE = 40;
const SLOW_SENDERS = 100;
const SCHEMATHESIS_SECONDS = 30;
/** How much more memory than after the warm-up is still "flat": V8 frees at its own pace. */
const GROWTH_MIB = 48;
/** A request of a well-behaved client while all this goes on. */
const PATIENCE_MS = 5_000;

const KINDS: [string, Maker][] = Object.entries({
  ...HTTP_MAKERS,
  ...API_MAKERS,
  "bad upgrade": badUpgrade,
  "bad frames": badFrames,
});

const seed = seedFromEnvironment("MALFORMED_SEED");
const folder = mkdtempSync(join(tmpdir(), "gw-malformed-"));
const log = join(folder, "gateway.log");
const canary = join(folder, "canary");
let gateway: GatewayProcess;
let agent: Server;
let sandboxId: string;

beforeAll(async () => {
  console.log(`seed ${seed}; to repeat: MALFORMED_SEED=${seed} npx vitest run gateway-malformed`);
  writeFileSync(canary, "alive");
  const script = join(folder, "gateway.cjs");
  await bundleGateway(script);
  gateway = await GatewayProcess.start({ script, home: join(folder, "h"), log });
  sandboxId = (await gateway.create("pipe")).id;
  const path = agentSocketPath(gateway.home, sandboxId);
  mkdirSync(dirname(path), { recursive: true });
  agent = createServer((socket) => socket.on("error", () => socket.destroy()).pipe(socket));
  await new Promise<void>((resolve) => agent.listen(path, resolve));
});
afterAll(async () => {
  await gateway?.program.kill();
  agent?.close();
  await removeFolder(folder);
});

it(`answers ${REQUESTS} malformed requests with no 5xx, no crash, no leak`, {
  timeout: 120_000,
}, async () => {
  const random = randomFrom(seed);
  const openBefore = gateway.program.openFiles();
  const slow = await SlowSenders.start(gateway.port, SLOW_SENDERS);
  const probes = startProbes();
  const wrong: string[] = [];
  const counts = new Map<string, number>();
  let sent = 0;
  let memoryBefore = 0;
  const worker = async () => {
    while (sent < REQUESTS) {
      const [kind, make] = KINDS[sent % KINDS.length] ?? KINDS[0] ?? [];
      sent++;
      if (!kind || !make) throw new Error("no kinds");
      if (sent === WARM_UP) memoryBefore = gateway.program.memoryMib();
      const made: RawCase = { kind, ...make(random, { sandboxId }) };
      const { statuses, text, closed } = await sendRaw(gateway.port, made);
      for (const status of statuses) counts.set(`${status}`, (counts.get(`${status}`) ?? 0) + 1);
      if (statuses.length === 0)
        counts.set(closed ? "closed" : "silent", (counts.get(closed ? "closed" : "silent") ?? 0) + 1);
      const fine = statuses.every((status) => status < 500) && (made.accept?.(statuses, text) ?? true);
      if (!fine) wrong.push(describeCase(made, statuses, text));
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  const served = await probes.stop();
  console.log(
    `answers: ${JSON.stringify(Object.fromEntries([...counts].sort()))}; probes served: ${served.count}`,
  );

  expect(gateway.program.running, "the gateway is alive").toBe(true);
  expect([...new Set(wrong)].slice(0, 20), `${wrong.length} wrong answers`).toEqual([]);
  expect(served.failures, "requests of a well-behaved client meanwhile").toEqual([]);
  expect(served.count).toBeGreaterThan(10);
  slow.stop();
  await untilQuiet(
    () => gateway.program.openFiles() <= openBefore + 5,
    "its connections and files are closed",
  );
  const memoryAfter = gateway.program.memoryMib();
  console.log(
    `memory: ${memoryBefore.toFixed(0)} MiB after ${WARM_UP}, ${memoryAfter.toFixed(0)} MiB after ${REQUESTS}`,
  );
  expect(memoryAfter, "MiB in the end").toBeLessThan(memoryBefore + GROWTH_MIB);
  expect(readFileSync(canary, "utf8")).toBe("alive");
  expect(complaints()).toEqual([]);
});

it("keeps to its own description: schemathesis", async () => {
  const found = await schemathesis(gateway.url, SCHEMATHESIS_SECONDS, seed);
  console.log(`schemathesis: ${found.cases} cases`);
  expect(found.failures, found.output).toEqual([]);
  expect(found.errors, found.output).toEqual([]);
  // So many seconds are some thousand on a machine with nothing else to do.
  expect(found.cases).toBeGreaterThan(100);
  expect(gateway.program.running, "the gateway is alive").toBe(true);
  expect(complaints()).toEqual([]);
});

/** What a well-behaved client does, again and again: each step must succeed, and soon. */
function startProbes() {
  const failures: string[] = [];
  let count = 0;
  let going = true;
  const probe = async () => {
    const name = `probe-${count}`;
    const { status, body } = await gateway.request("POST", "/v1/sandboxes", createBody(name));
    if (status !== 200) failures.push(`create: ${status} ${JSON.stringify(body)}`);
    const listed = await gateway.request("GET", "/v1/sandboxes?limit=100");
    if (listed.status !== 200) failures.push(`list: ${listed.status}`);
    const removed = await gateway.request("DELETE", `/v1/sandboxes/${body.id}`);
    if (removed.status !== 200) failures.push(`delete: ${removed.status}`);
    await echo(`hello ${count}`);
  };
  const run = async () => {
    while (going) {
      const began = Date.now();
      await probe().catch((error) => failures.push(String(error)));
      if (Date.now() - began > PATIENCE_MS) failures.push(`took ${Date.now() - began} ms`);
      count++;
      await sleep(200);
    }
  };
  const ended = run();
  return {
    stop: async () => {
      going = false;
      await ended;
      return { count, failures };
    },
  };
}

/** One message through the pipe and back. */
function echo(message: string): Promise<void> {
  const client = new WebSocket(`${gateway.url.replace("http", "ws")}/v1/sandboxes/${sandboxId}/agent`, {
    headers: { authorization: "Bearer msb_test" },
    handshakeTimeout: PATIENCE_MS,
  });
  return new Promise<void>((resolve, reject) => {
    client.on("error", reject);
    client.on("open", () => client.send(Buffer.from(message)));
    client.on("message", (data) =>
      String(data) === message ? resolve() : reject(new Error(`the pipe answered ${data}`)),
    );
    client.on("close", (code) => reject(new Error(`the pipe closed (${code})`)));
  }).finally(() => client.terminate());
}

/** What the gateway itself calls an error. */
function complaints(): string[] {
  const lines = readFileSync(log, "utf8").split("\n");
  return lines
    .filter((line) => /"level":[56]0/.test(line) || (line !== "" && !line.startsWith("{")))
    .slice(0, 5);
}

function describeCase({ kind, bytes }: RawCase, statuses: number[], text: string): string {
  const what = Buffer.concat(bytes).toString("latin1").slice(0, 400);
  return `${kind}: sent ${JSON.stringify(what)}, got ${JSON.stringify(statuses)} ${JSON.stringify(text.slice(-300))}`;
}

async function untilQuiet(holds: () => boolean, what: string): Promise<void> {
  for (const deadline = Date.now() + 10_000; !holds(); await sleep(100))
    if (Date.now() > deadline) throw new Error(`not within 10 s: ${what}`);
}
