import { existsSync, mkdtempSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, it } from "vitest";
import { FakeMsb, faultyMsb } from "../harness/faults";
import { bundleGateway, createBody, GatewayProcess, newHome } from "../harness/gateway";
import { type Answered, KeptAliveClient, Unanswered } from "../harness/kept-alive";
import { FakeAgents, openPipe } from "../harness/model/agents";
import { removeFolder } from "../harness/remove-folder";

/** Half of what is deployed. */
const STOP_TIMEOUT_SECONDS = 30;
const SANDBOXES = 200;
/** Clients that go on creating while the server stops. */
const CREATORS = 8;
const MANY = 1_000;
/** What answers later than this is a refusal. */
const AT_ONCE_MS = 10_000;
const RESUMED_WITHIN_MS = 120_000;

const folder = mkdtempSync(join(tmpdir(), "gw-stopping-"));
const script = join(folder, "gateway.cjs");
const log = join(folder, "gateway.log");
const gateways: GatewayProcess[] = [];

beforeAll(() => bundleGateway(script));
afterAll(async () => {
  for (const gateway of gateways) {
    await gateway.program.kill();
    await removeFolder(gateway.home);
  }
  await removeFolder(folder);
});

async function start(home: string): Promise<{ gateway: GatewayProcess; client: KeptAliveClient }> {
  const env = { MSB_PATH: faultyMsb, STOP_TIMEOUT_SECONDS: String(STOP_TIMEOUT_SECONDS) };
  const gateway = await GatewayProcess.start({ script, log, home, env });
  gateways.push(gateway);
  return { gateway, client: new KeptAliveClient(gateway.port) };
}

const create = (client: KeptAliveClient, name: string) =>
  client.ask("POST", "/v1/sandboxes?start=true&wait_for=running&wait_timeout=90", { body: createBody(name) });

/** Creates and starts sandboxes, several at once. */
async function fill(client: KeptAliveClient, count: number): Promise<Map<string, string>> {
  const made = new Map<string, string>();
  const names = Array.from({ length: count }, (_, index) => `kept-${index}`);
  const work = async () => {
    for (let name = names.pop(); name !== undefined; name = names.pop()) {
      const { status, body } = await create(client, name);
      expect(status, JSON.stringify(body)).toBe(200);
      made.set(name, body.id);
    }
  };
  await Promise.all(Array.from({ length: 6 }, work));
  return made;
}

/** Creates over a connection of its own until it is broken; what it was answered. */
async function createAlways(
  client: KeptAliveClient,
  who: number,
): Promise<{ made: [string, string][]; refused: Answered[] }> {
  const made: [string, string][] = [];
  const refused: Answered[] = [];
  for (let index = 0; ; index++) {
    const name = `during-${who}-${index}`;
    try {
      const answer = await create(client, name);
      if (answer.status === 200) made.push([name, answer.body.id]);
      else refused.push(answer);
      if (answer.status !== 200) await sleep(20);
    } catch (error) {
      if (!(error instanceof Unanswered)) throw error;
      return { made, refused };
    }
  }
}

/** What msb would lose the writes of, and nobody would start again. msb's names are names or ids, and so are the noted. */
function neitherStoppedNorNoted(home: string): string[] {
  const file = join(home, "gateway", "resume.json");
  const noted = existsSync(file) ? readFileSync(file, "utf8") : "";
  const rows = [...new FakeMsb(home).sandboxes()];
  return rows.flatMap(([name, state]) =>
    state === "Stopped" || noted.includes(`"${name}"`) ? [] : [`${name} is ${state}`],
  );
}

/** How many of them run. */
async function runAll(client: KeptAliveClient, ids: Iterable<string>): Promise<number> {
  const running = new Set<string>();
  let cursor: string | null = null;
  do {
    const after: string = cursor === null ? "" : `&cursor=${encodeURIComponent(cursor)}`;
    const { body } = await client.ask("GET", `/v1/sandboxes?limit=500${after}`);
    for (const { id, status } of body.data) if (status === "running") running.add(id);
    cursor = body.next_cursor;
  } while (cursor !== null);
  return [...ids].filter((id) => running.has(id)).length;
}

async function until(holds: () => Promise<boolean>, timeoutMs: number): Promise<boolean> {
  const deadline = Date.now() + timeoutMs;
  while (!(await holds())) {
    if (Date.now() > deadline) return false;
    await sleep(200);
  }
  return true;
}

it(`stops ${SANDBOXES} sandboxes in time under constant creates, and starts them again`, {
  timeout: 300_000,
}, async () => {
  const home = newHome();
  const { gateway, client } = await start(home);
  const ids = await fill(client, SANDBOXES);
  const creating = Array.from({ length: CREATORS }, (_, who) =>
    createAlways(new KeptAliveClient(gateway.port), who),
  );
  await sleep(1_000);

  // Sixteen at once would take half a minute for these alone.
  new FakeMsb(home).fail([["stop", "slow", 1000]], 1);
  const began = Date.now();
  gateway.program.child.kill("SIGTERM");
  const how = await Promise.race([
    gateway.program.ended,
    sleep((STOP_TIMEOUT_SECONDS + 10) * 1000, "not at all"),
  ]);
  const seconds = (Date.now() - began) / 1000;
  const results = await Promise.all(creating);
  console.log(
    `stopped in ${seconds.toFixed(1)} s; ${results.flatMap(({ refused }) => refused).length} creates refused`,
  );
  expect(how, "how it ended").toBe(0);
  expect(seconds).toBeLessThan(STOP_TIMEOUT_SECONDS + 2);

  const refused = results.flatMap((each) => each.refused);
  expect(refused.length, "creates that were refused while it stopped").toBeGreaterThan(0);
  for (const { status, headers, body } of refused) {
    expect([status, body.error.code]).toEqual([503, "orchestrator_unreachable"]);
    expect(Number(headers["retry-after"])).toBeGreaterThan(0);
  }
  for (const [name, id] of results.flatMap(({ made }) => made)) ids.set(name, id);
  expect(neitherStoppedNorNoted(home)).toEqual([]);

  new FakeMsb(home).recover();
  const next = await start(home);
  const all = await until(async () => (await runAll(next.client, ids.values())) === ids.size, 60_000);
  expect(all, `${await runAll(next.client, ids.values())} of ${ids.size} run again`).toBe(true);
});

it(`resumes ${MANY} sandboxes, those asked for first`, { timeout: 400_000 }, async () => {
  const home = newHome();
  const { gateway, client } = await start(home);
  const ids = await fill(client, MANY);
  gateway.program.child.kill("SIGTERM");
  expect(await gateway.program.ended).toBe(0);
  expect(neitherStoppedNorNoted(home)).toEqual([]);

  const msb = new FakeMsb(home);
  // A boot takes a third of a second: one after the other, or four at once, they would take minutes.
  msb.fail([["start", "late", 1000]], 1);
  const next = await start(home);
  const began = Date.now();
  const late: string[] = [];
  const agents = new FakeAgents(home);
  const uses: Record<string, (id: string) => Promise<[number, string?]>> = {
    start: async (id) => {
      const path = `/v1/sandboxes/${id}/start?wait_for=running`;
      const { status, body } = await next.client.ask("POST", path, { body: {} });
      return body.status === "running" ? [status] : [status, body.status];
    },
    exec: async (id) => {
      await agents.listen(id);
      const status = await openPipe(next.gateway.port, "msb_test", id, 10);
      return status === 101 ? [200] : [status];
    },
    get: async (id) => [(await next.client.ask("GET", `/v1/sandboxes/${id}`)).status],
  };
  for (const last of [MANY - 1, MANY / 2, 2])
    for (const [at, [what, use]] of Object.entries(uses).entries()) {
      // Of another each, so that none is up already.
      const which = `kept-${last - at}`;
      const asked = Date.now();
      const [status, state] = await use(ids.get(which) ?? "");
      if (status !== 200 || state !== undefined || Date.now() - asked > AT_ONCE_MS)
        late.push(`${what} of ${which}: ${status} ${state} after ${Date.now() - asked} ms`);
    }
  expect(late, "those asked for come first").toEqual([]);
  // It serves others meanwhile.
  const asked = Date.now();
  expect((await create(next.client, "new")).status).toBe(200);
  expect(Date.now() - asked).toBeLessThan(AT_ONCE_MS);
  msb.recover();
  agents.endAll();
  const all = await until(async () => (await runAll(next.client, ids.values())) === MANY, RESUMED_WITHIN_MS);
  console.log(`resumed in ${((Date.now() - began) / 1000).toFixed(1)} s`);
  expect(all, `${await runAll(next.client, ids.values())} of ${MANY} run again`).toBe(true);
});
