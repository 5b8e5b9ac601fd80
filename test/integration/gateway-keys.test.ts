import { mkdirSync, mkdtempSync, readFileSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, it } from "vitest";
import WebSocket from "ws";
import { agentSocketPath, bundleGateway, createBody, GatewayProcess } from "../harness/gateway";
import { hashOf, writeKeyFile } from "../harness/key-file";
import { removeFolder } from "../harness/remove-folder";

const REQUESTS = 1_000;
const AT_ONCE = 20;
/** When a changed file counts, at the latest. */
const RELOADED_MS = 1_000;

const folder = mkdtempSync(join(tmpdir(), "gw-keys-"));
const file = join(folder, "keys");
const log = join(folder, "gateway.log");
const [stays, revoked, added] = ["stays", "revoked", "added"].map((id) => ({
  id,
  key: `msb_${id}`.padEnd(68, "0"),
}));
let gateway: GatewayProcess;
let agent: Server;
let sandboxId: string;

const as = (key: string) => ({ authorization: `Bearer ${key}` });

beforeAll(async () => {
  if (!stays || !revoked) throw new Error("no keys");
  writeKeyFile(file, [stays, revoked]);
  const script = join(folder, "gateway.cjs");
  await bundleGateway(script);
  const env = { DEV_MODE: "false", API_KEYS_FILE: file };
  gateway = await GatewayProcess.start({ script, home: join(folder, "h"), log, env });
  const made = await gateway.request(
    "POST",
    "/v1/sandboxes?start=true&wait_for=running",
    createBody("pipe"),
    as(stays.key),
  );
  expect(made.status, JSON.stringify(made.body)).toBe(200);
  sandboxId = made.body.id;
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

/** A pipe that is used all the time. */
async function busyPipe(key: string) {
  const url = `${gateway.url.replace("http", "ws")}/v1/sandboxes/${sandboxId}/agent`;
  const client = new WebSocket(url, { headers: as(key) });
  await new Promise<void>((resolve, reject) => client.once("open", resolve).once("error", reject));
  const state = { sent: 0, echoed: 0, closed: undefined as number | undefined };
  client.on("message", (data) => {
    if (String(data) === `${state.echoed}`) state.echoed++;
  });
  client.on("close", (code) => {
    state.closed = code;
  });
  // One at a time, so that a message is a message.
  const timer = setInterval(() => {
    if (state.closed === undefined && state.sent === state.echoed)
      client.send(Buffer.from(`${state.sent++}`));
  }, 10);
  return {
    state,
    end: () => {
      clearInterval(timer);
      client.terminate();
    },
  };
}

it(`${REQUESTS} requests while a key is added and another revoked: none of a valid key fails, none of the revoked passes`, {
  timeout: 120_000,
}, async () => {
  if (!stays || !revoked || !added) throw new Error("no keys");
  const [kept, cut] = [await busyPipe(stays.key), await busyPipe(revoked.key)];
  const failed: string[] = [];
  const passed: number[] = [];
  let [requests, made, refused] = [0, 0, 0];
  let [addedAt, revokedAt] = [Infinity, Infinity];
  const over = () => requests >= REQUESTS && Date.now() > revokedAt + RELOADED_MS + 500;

  /** All kinds of requests, with a key that has to be taken. */
  const user = async (key: string) => {
    const name = `made-${made++}`;
    const steps: [string, string, unknown?][] = [
      ["POST", "/v1/sandboxes", createBody(name)],
      ["GET", `/v1/sandboxes/by-name/${name}`],
      ["GET", "/v1/sandboxes?limit=50"],
      ["GET", "/v1/quotas"],
      ["DELETE", `/v1/sandboxes/by-name/${name}`],
    ];
    for (const [method, path, body] of steps) {
      const { status } = await gateway.request(method, path, body, as(key));
      requests++;
      if (status !== 200) failed.push(`${method} ${path}: ${status}`);
    }
  };
  const workers = Array.from({ length: AT_ONCE }, async (_each, index) => {
    while (!over()) {
      const both = index % 2 === 0 && Date.now() > addedAt + RELOADED_MS;
      await user(both ? added.key : stays.key);
    }
  });
  const thief = async () => {
    while (!over()) {
      const began = Date.now();
      const { status } = await gateway.request("GET", "/v1/quotas", undefined, as(revoked.key));
      if (status === 200) passed.push(began);
      else refused++;
      await sleep(5);
    }
  };
  const owner = async () => {
    while (requests < REQUESTS / 4) await sleep(5);
    writeKeyFile(file, [stays, revoked, added]);
    addedAt = Date.now();
    while (requests < REQUESTS / 2 || Date.now() < addedAt + RELOADED_MS) await sleep(5);
    writeKeyFile(file, [stays, added]);
    revokedAt = Date.now();
  };
  await Promise.all([...workers, thief(), owner()]);
  console.log(
    `${requests} requests; of the revoked key ${passed.length} were taken before, ${refused} refused after`,
  );

  expect(failed).toEqual([]);
  expect(requests).toBeGreaterThanOrEqual(REQUESTS);
  expect(passed.length, "the revoked key was good before").toBeGreaterThan(0);
  expect(refused).toBeGreaterThan(0);
  expect(passed.filter((began) => began > revokedAt + RELOADED_MS)).toEqual([]);
  expect(cut.state.closed, "its pipe is closed").toBe(1008);
  expect(kept.state.closed, "the other's is not").toBeUndefined();
  const before = kept.state.echoed;
  await sleep(300);
  expect(kept.state.echoed).toBeGreaterThan(before);
  for (const pipe of [kept, cut]) pipe.end();
});

it("logs ids of keys, never a key or its hash", () => {
  const text = readFileSync(log, "utf8");
  expect(text).toContain('"key":"stays"');
  for (const each of [stays, revoked, added]) {
    expect(text).not.toContain(each?.key);
    expect(text).not.toContain(hashOf(each?.key ?? ""));
  }
});
