import { mkdtempSync, readdirSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, it } from "vitest";
import { bundleGateway, GatewayProcess, newHome } from "../harness/gateway";
import { Client, type Ledger, newLedger } from "../harness/gateway-load";
import { halfDone, listAll as listPages } from "../harness/model/settled";
import { type Random, randomFrom, seedFromEnvironment } from "../harness/random";
import { removeFolder } from "../harness/remove-folder";

/** How often the gateway is killed. */
const KILLS = 50;
const CLIENTS = 6;
/** Milliseconds of load before each kill. */
const LOAD_MS = { least: 40, most: 600 };
/** The sweep runs every ten seconds; what a crash cut off is settled by one of them. */
const SETTLE_MS = 45_000;

const seed = seedFromEnvironment("CRASH_SEED");
const folder = mkdtempSync(join(tmpdir(), "gw-crash-"));
const script = join(folder, "gateway.cjs");
const log = join(folder, "gateway.log");
const home = newHome();
let gateway: GatewayProcess;

beforeAll(() => bundleGateway(script));
afterAll(async () => {
  await gateway?.program.kill();
  // What the killed gateway had started may still be writing.
  await removeFolder(home);
  await removeFolder(folder);
});

it(`loses and leaks nothing when it is killed ${KILLS} times under load`, async () => {
  console.log(`seed ${seed}; to repeat: CRASH_SEED=${seed} npx vitest run gateway-crash`);
  const random = randomFrom(seed);
  const ledger = newLedger();
  for (let kill = 0; kill < KILLS; kill++) {
    gateway = await GatewayProcess.start({ script, home, log });
    await checkAnswers(ledger, `after kill ${kill}`);
    await loadAndKill(ledger, random);
  }
  gateway = await GatewayProcess.start({ script, home, log });
  await checkAnswers(ledger, "after the last kill");
  const { counts } = ledger;
  console.log(`answered: ${JSON.stringify(counts)}, cut off: ${ledger.cutOff}`);
  expect(ledger.unexpected, "answers that should not be").toEqual([]);
  // Otherwise the test would have tested nothing.
  for (const work of ["create", "createOnly", "start", "stop", "remove", "ephemeral", "volume"] as const)
    expect(counts[work], `answered ${work}`).toBeGreaterThan(0);
  expect(ledger.cutOff, "requests that a kill cut off").toBeGreaterThan(KILLS / 2);

  await settled(ledger);
  expect(unreadable(), "records set aside as unreadable").toEqual([]);
  expect(logged(/can't be read|recovery failed/), "complaints in the log").toEqual([]);
});

/** Clients at work, until SIGKILL hits at a moment of chance. */
async function loadAndKill(ledger: Ledger, random: Random): Promise<void> {
  const until = { stopped: false };
  const clients = Array.from({ length: CLIENTS }, () => new Client(gateway, ledger, random));
  const works = clients.map((client) => client.work(until));
  await sleep(random.between(LOAD_MS.least, LOAD_MS.most));
  await gateway.program.kill();
  until.stopped = true;
  await Promise.all(works);
}

/** Everything that was answered holds, with the same ids, right after the restart. */
async function checkAnswers(ledger: Ledger, when: string): Promise<void> {
  expect(unreadable(), when).toEqual([]);
  const listed = await listAll();
  expect(new Set(listed.map(({ name }) => name)).size, `${when}: a name twice`).toBe(listed.length);
  const byId = new Map(listed.map((each) => [each.id, each]));
  for (const { id, name, state, uncertain } of ledger.sandboxes.values()) {
    const found = byId.get(id);
    // What a cut-off request asked for may have happened or not.
    if (uncertain) continue;
    if (state === "removed") {
      expect(found, `${when}: ${name} was removed, and is there`).toBeUndefined();
      continue;
    }
    expect(found, `${when}: ${name} (${id}) is lost`).toBeDefined();
    expect([name, found?.status], `${when}: ${name}`).toEqual([name, state]);
  }
  const volumes = (await gateway.request("GET", "/v1/volumes")).body;
  const ids = new Map(volumes.map((volume: { id: string; name: string }) => [volume.name, volume.id]));
  for (const [name, id] of ledger.volumes) expect(ids.get(name), `${when}: the volume ${name}`).toBe(id);
}

/** In time: msb knows no sandbox that the gateway does not, nor the other way round; nothing is half done. */
async function settled(ledger: Ledger): Promise<void> {
  const answered = new Set([...ledger.sandboxes.values()].map(({ name }) => name));
  const problems = async (): Promise<string[]> => {
    const listed = await listAll();
    // msb calls a sandbox by its id.
    const known = new Set(listed.map(({ id }) => id));
    const made = fakeSandboxes();
    return [
      ...[...made].filter((id) => !known.has(id)).map((id) => `msb has ${id}, the gateway does not`),
      ...listed
        .filter(({ id, status }) => !made.has(id) && status !== "created" && status !== "failed")
        .map(({ name, status }) => `the gateway has ${name} (${status}), msb does not`),
      ...halfDone(listed),
      ...listed
        .filter(({ id, name }) => answered.has(name) && !ledger.sandboxes.has(id))
        .map(({ name }) => `${name} changed its id`),
    ];
  };
  const deadline = Date.now() + SETTLE_MS;
  let left = await problems();
  while (left.length > 0 && Date.now() < deadline) {
    await sleep(1_000);
    left = await problems();
  }
  expect(left).toEqual([]);
  const leftovers = readdirSync(join(home, "gateway", "sandboxes")).filter((name) => name.endsWith(".tmp"));
  expect(leftovers, "half-written files").toEqual([]);
}

/** All pages of the list. */
const listAll = () => listPages({ ask: (method, path) => gateway.request(method, path) }, 50);

/** What the fake msb has, whatever the gateway says. */
function fakeSandboxes(): Set<string> {
  const files = new Set(readdirSync(join(home, "fake", "sandboxes")));
  const named = (kind: string) =>
    [...files].flatMap((file) => (file.endsWith(kind) ? file.slice(0, -kind.length) : []));
  // What a command that was killed had begun to write may come after its removal.
  return new Set(named(".status").filter((id) => files.has(`${id}.conf`)));
}

function unreadable(): string[] {
  try {
    return readdirSync(join(home, "gateway", "sandboxes")).filter((name) => name.endsWith(".unreadable"));
  } catch {
    return []; // Before the first start there is no folder.
  }
}

const logged = (what: RegExp): string[] =>
  readFileSync(log, "utf8")
    .split("\n")
    .filter((line) => what.test(line));
