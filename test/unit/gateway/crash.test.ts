import { type ChildProcess, spawn } from "node:child_process";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { build } from "esbuild";
import { afterAll, expect, test } from "vitest";
import { FAKE_MSB, newBody, START, temporaryFolder } from "./harness";

/** `CRASH_ROUNDS=50` is the long form; one round shows that it still works. */
const ROUNDS = Number(process.env.CRASH_ROUNDS ?? 1);

const home = temporaryFolder();
const script = join(temporaryFolder(), "server.cjs");
const port = 20_000 + (process.pid % 20_000);
let server: ChildProcess | undefined;
afterAll(() => server?.kill("SIGKILL"));

async function start(): Promise<void> {
  server = spawn(process.execPath, [script], {
    env: {
      ...{ PATH: process.env.PATH, MSB_PATH: FAKE_MSB, MSB_HOME: home, WORKSPACE: home, STARTER_ARCHIVE: "" },
      ...{ DEV_MODE: "true", LOG_LEVEL: "silent", LISTEN_ADDRESS: "127.0.0.1", PORT: String(port) },
      ...{ LIMIT_MEMORY_MIB: "1000000", LIMIT_CPUS: "10000", LIMIT_REQUESTS_PER_SECOND: "100000" },
    },
    stdio: "inherit",
  });
  for (let tries = 0; tries < 500; tries++) {
    if ((await ask("GET", "/healthz")).status === 200) return;
    await sleep(20);
  }
  throw new Error("the server did not come back");
}

/** Status 0: the server was killed before it answered. */
async function ask(method: string, path: string, body?: object) {
  try {
    const answer = await fetch(`http://127.0.0.1:${port}${path}`, {
      method,
      headers: { authorization: "Bearer x", ...(body && { "content-type": "application/json" }) },
      body: body && JSON.stringify(body),
    });
    const json: ReturnType<typeof JSON.parse> = await answer.json();
    return { status: answer.status, body: json };
  } catch {
    return { status: 0, body: undefined };
  }
}

/** Names that msb has. */
const made = () =>
  readdirSync(join(home, "fake", "sandboxes")).flatMap((file) => /^(.*)\.status$/.exec(file)?.[1] ?? []);

test(`kill -9 under load, ${ROUNDS} times: no answered create is lost, no sandbox leaked`, {
  timeout: 600_000,
}, async () => {
  await build({
    entryPoints: [join(__dirname, "../../../docker/gateway/src/main.ts")],
    ...{ bundle: true, platform: "node", format: "cjs", outfile: script, logLevel: "error" },
  });
  const ids = new Map<string, string>();
  const deleted = new Set<string>();
  await start();
  for (let round = 0; round < ROUNDS; round++) {
    let going = true;
    const worker = async (name: string) => {
      for (let count = 0; going; count++) {
        const own = `${name}-${count}`;
        const answer = await ask("POST", `/v1/sandboxes?${START}`, newBody(own));
        if (answer.status !== 200) continue;
        ids.set(own, answer.body.id);
        if (count % 3 > 0) continue;
        // From here on it may be gone or not; once answered, it must be gone.
        ids.delete(own);
        if ((await ask("DELETE", `/v1/sandboxes/by-name/${own}`)).status === 200) deleted.add(own);
        else await ask("DELETE", `/v1/sandboxes/by-name/${own}`);
      }
    };
    const load = ["a", "b", "c", "d"].map((each) => worker(`r${round}${each}`));
    await sleep(100 + Math.random() * 400);
    server?.kill("SIGKILL");
    going = false;
    await Promise.all(load);
    await start();
    for (const [name, id] of ids) {
      const { status, body } = await ask("GET", `/v1/sandboxes/by-name/${name}`);
      expect([name, status, body?.id, body?.status]).toEqual([name, 200, id, "running"]);
    }
    for (const name of deleted) expect((await ask("GET", `/v1/sandboxes/by-name/${name}`)).status).toBe(404);
    for (const name of [...ids.keys()].slice(20)) {
      if ((await ask("DELETE", `/v1/sandboxes/by-name/${name}`)).status === 200) ids.delete(name);
    }
  }
  expect(
    readdirSync(join(home, "gateway", "sandboxes")).filter((name) => name.includes("unreadable")),
  ).toEqual([]);
  // What was cut off is swept away within a sweep or two: then msb has only what was answered.
  for (let tries = 0; tries < 400; tries++) {
    const listed = (await ask("GET", "/v1/sandboxes?limit=500")).body.data.map(
      ({ name }: { name: string }) => name,
    );
    const known = new Set(listed);
    if (made().every((name) => known.has(name)) && [...ids.keys()].every((name) => known.has(name))) return;
    await sleep(100);
  }
  throw new Error("msb still has sandboxes that the server does not list");
});
