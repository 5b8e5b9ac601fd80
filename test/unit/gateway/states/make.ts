/**
 * Writes 659e3d2.json beside it: what that version of the gateway, the last that called sandboxes in msb as their clients
 * do, left on its state volume over the fake msb when it was killed in the middle of things and when it was stopped; and
 * what it had told of its sandboxes and volumes before. It runs that version itself, out of git's history, with the
 * packages of now. What is over after a while (30 s, 2 minutes) is over for the test once that has passed:
 *
 *     npx tsx test/unit/gateway/states/make.ts
 */
import {
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { exec } from "../../../../setup/exec";
import { projectRoot } from "../../../../setup/project";
import { bundle, createBody, fakeMsb, GatewayProcess, newHome } from "../../../harness/gateway";
import { writeKeyFile } from "../../../harness/key-file";

const VERSION = "659e3d2";
const START = "start=true&wait_for=running&wait_timeout=90";
/** msb, but one that gets neither `half` nor `cut` removed, and can't make `lost`. */
const MSB = `#!/bin/sh
case "$*" in
"rm "*half) sleep 4; exit 1 ;;
"rm "*cut) echo "error: database is locked" >&2; exit 1 ;;
"create "*lost*) sleep 1; echo "error: no memory" >&2; exit 1 ;;
esac
exec "${fakeMsb}" "$@"
`;
const keys = ["ann", "bob"].map((id) => ({ id, key: `key-of-${id}` }));
const as = (id: string) => ({ authorization: `Bearer key-of-${id}` });

async function main(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "old-gateway-"));
  const home = newHome();
  try {
    const script = await oldGateway(folder);
    const msb = join(folder, "msb");
    writeFileSync(msb, MSB, { mode: 0o755 });
    writeKeyFile(join(folder, "keys"), keys);
    const env = {
      DEV_MODE: "false",
      OWN_SANDBOXES: "true",
      API_KEYS_FILE: join(folder, "keys"),
      MSB_PATH: msb,
    };

    const first = await GatewayProcess.start({ script, home, env });
    await fill(first);
    const toldFirst = await told(first);
    const half = first.request("DELETE", "/v1/sandboxes/by-name/half", undefined, as("ann"));
    const cut = first.request(
      "POST",
      `/v1/sandboxes?${START}`,
      body("cut", { reference: "slow-4" }),
      as("ann"),
    );
    const unanswered = Promise.allSettled([half, cut]);
    await sleep(1000);
    await first.program.kill();
    await unanswered;
    const killed = { told: toldFirst, files: filesOf(home) };
    // What msb was at goes on.
    await sleep(4000);

    const second = await GatewayProcess.start({ script, home, env });
    const toldSecond = await told(second);
    second.program.child.kill("SIGTERM");
    await second.program.ended;
    const stopped = { told: toldSecond, files: filesOf(home) };
    writeFileSync(join(__dirname, `${VERSION}.json`), `${JSON.stringify({ killed, stopped }, null, 2)}\n`);
  } finally {
    for (const each of [folder, home]) rmSync(each, { recursive: true });
  }
}

/** Bundles that version's own sources. */
async function oldGateway(folder: string): Promise<string> {
  const archive = join(folder, "sources.tar");
  await exec("git", ["archive", "--output", archive, VERSION, "docker/gateway"], { cwd: projectRoot });
  await exec("tar", ["-xf", archive, "-C", folder]);
  const sources = join(folder, "docker/gateway");
  symlinkSync(join(projectRoot, "docker/gateway/node_modules"), join(sources, "node_modules"));
  const script = join(folder, "server.cjs");
  await bundle(join(sources, "src/main.ts"), script);
  return script;
}

const body = (name: string, change: Record<string, unknown> = {}) =>
  createBody(name, { labels: { of: name, team: "old" }, ...change });

/** Sandboxes in every state that lasts, and volumes. */
async function fill(gateway: GatewayProcess): Promise<void> {
  const ask = async (owner: string, method: string, path: string, given?: unknown) => {
    const answer = await gateway.request(method, path, given, as(owner));
    if (answer.status === 200) return answer.body;
    throw new Error(`${method} ${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
  };
  const create = (owner: string, name: string, change?: Record<string, unknown>, query = START) =>
    ask(owner, "POST", `/v1/sandboxes?${query}`, body(name, change));

  for (const [owner, name] of [
    ["ann", "data"],
    ["bob", "notes"],
  ] as const)
    await ask(owner, "POST", "/v1/volumes", { name, labels: { of: name } });
  await ask("ann", "POST", "/v1/volumes", { name: "disk", labels: {}, capacity_gib: 1 });
  for (const name of ["data", "notes", "disk"])
    writeFileSync(join(gateway.home, "volumes", name, "file"), "written before");
  const mounts = [{ type: "named", name: "data", guest: "/data" }];

  await create("ann", "running", { mounts });
  await create("bob", "running-too");
  await create("ann", "timed", { lifecycle: { max_duration_secs: 30 } });
  await create("ann", "stopped");
  await ask("ann", "POST", "/v1/sandboxes/by-name/stopped/stop");
  await create("ann", "failed", { env: [{ key: "FAIL_START", value: "yes" }] });
  await ask("ann", "POST", "/v1/sandboxes/by-name/failed/stop");
  await ask("ann", "POST", `/v1/sandboxes/by-name/failed/start`).catch(() => undefined);
  await create("ann", "lost", {}, "start=true");
  await create("ann", "ephemeral", { lifecycle: { ephemeral: true } });
  await create("ann", "over", { lifecycle: { ephemeral: true } });
  await ask("ann", "POST", "/v1/sandboxes/by-name/over/stop");
  await create("ann", "pending", {}, "start=false");
  await create("ann", "half");
  // Made with msb itself.
  const conf = join(gateway.home, "conf");
  writeFileSync(conf, '{"image":{"oci":"starter"},"cpus":1,"memory":"64M"}\n');
  await exec(fakeMsb, ["create", "--name", "stray", "--conf", conf], { env: { MSB_HOME: gateway.home } });
  rmSync(conf);
  await sleep(2000);
}

/** What the gateway says of all sandboxes and volumes, by key. */
async function told(gateway: GatewayProcess) {
  const all = keys.map(async ({ id }) => {
    const sandboxes = (await gateway.request("GET", "/v1/sandboxes?limit=500", undefined, as(id))).body.data;
    const volumes = (await gateway.request("GET", "/v1/volumes", undefined, as(id))).body;
    return [id, { sandboxes, volumes }] as const;
  });
  return Object.fromEntries(await Promise.all(all));
}

/** Text by path of all that is on the state volume, sockets and what the fake msb was called with aside. */
function filesOf(home: string, under = ""): Record<string, string> {
  const files: Record<string, string> = {};
  for (const name of readdirSync(join(home, under)).sort()) {
    const path = join(under, name);
    if (["run", "workspace", "fake/calls.log", "fake/scripts"].includes(path)) continue;
    const found = statSync(join(home, path));
    if (found.isDirectory()) Object.assign(files, filesOf(home, path));
    else if (found.isFile()) files[path] = readFileSync(join(home, path), "utf8");
  }
  return files;
}

void main();
