import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, expect, it } from "vitest";
import { bundleGateway } from "../harness/gateway";
import type { Held } from "../harness/model/held";
import { Models } from "../harness/model/model";
import { flat, settle, useAndRemove } from "../harness/model/settled";
import { type Step, steps } from "../harness/model/steps";
import { World } from "../harness/model/world";
import { seedFromEnvironment } from "../harness/random";
import { removeFolder } from "../harness/remove-folder";

/** Steps in all, at least. */
const OPERATIONS = 10_000;
/** Gateways side by side: each waits most of the time. */
const LANES = [
  { faults: false, restarts: false },
  { faults: true, restarts: false },
  { faults: true, restarts: false },
  { faults: false, restarts: true },
  { faults: true, restarts: true },
];
const STEPS_OF_A_RUN = 250;

const seed = seedFromEnvironment("MODEL_SEED");
const folder = mkdtempSync(join(tmpdir(), "gw-model-"));
const script = join(folder, "gateway.cjs");
const worlds: World[] = [];
let operations = 0;
let failed = false;

beforeAll(() => bundleGateway(script));
afterAll(async () => {
  for (const world of worlds) await world.remove();
  await removeFolder(folder);
});

it(`keeps its promises over ${OPERATIONS} operations`, { timeout: 15 * 60_000 }, async () => {
  console.log(`seed ${seed}; to repeat: MODEL_SEED=${seed} npx vitest run gateway-model`);
  const lanes = await Promise.allSettled(LANES.map(keepsItsPromises));
  const failures = lanes.flatMap((lane) => (lane.status === "rejected" ? [String(lane.reason.message)] : []));
  console.log(`${operations} operations`);
  expect(failures.join("\n\n"), `seed ${seed}`).toBe("");
  expect(operations).toBeGreaterThanOrEqual(OPERATIONS);
});

/** Runs until all lanes together have done enough, or one has failed: its trace says more than fewer steps would. */
async function keepsItsPromises({ faults, restarts }: (typeof LANES)[number], lane: number): Promise<void> {
  const world = await World.start({ script, log: join(folder, `${lane}.log`) });
  worlds.push(world);
  await warmUp(world);
  const held = await world.held();
  const kinds = fc.oneof(...steps({ faults, restarts, done: () => void operations++ }));
  const arbitrary = fc.array(kinds, { minLength: STEPS_OF_A_RUN, maxLength: STEPS_OF_A_RUN, size: "max" });
  try {
    while (operations < OPERATIONS && !failed) {
      world.run++;
      const [given = []] = fc.sample(arbitrary, { seed: seed + 1_000 * lane + world.run, numRuns: 1 });
      await run(world, given, held);
    }
  } catch (error) {
    failed = true;
    const said = String((error as Error).message).slice(0, 1_000);
    throw new Error(`lane ${lane}, run ${world.run}: ${said}\n${excerpt(world, said)}`);
  }
}

async function run(world: World, given: Step[], held: Held): Promise<void> {
  const models = new Models();
  const began = Date.now();
  await fc.asyncModelRun(() => ({ model: models, real: world }), given);
  await settle(models, world);
  await useAndRemove(models, world);
  await flat(world, held);
  expect(world.problems).toEqual([]);
  expect(world.unforeseen(), "errors in the log that nobody foresaw").toEqual([]);
  if (process.env.MODEL_TIMES) console.log(`${world.home} run ${world.run}: ${Date.now() - began} ms`);
}

/** What is opened once, with the first use of it, is no leak. */
async function warmUp(world: World): Promise<void> {
  const { id } = await world.gateway.create("warm-up");
  await world.openPipe(id, 10);
  await world.ask("GET", `/v1/sandboxes/${id}/logs`, { leaveAfterMs: 50 }).catch(() => undefined);
  await world.ask("DELETE", `/v1/sandboxes/${id}`);
}

/** The last lines of what was done, of those about the things that a failure names. */
function excerpt({ trace }: World, failure: string): string {
  const names = new Set(failure.match(/\b[nv]\d-\d+\b|[0-9a-f]{8}-[0-9a-f-]{27}/g) ?? []);
  const about = (line: string) =>
    !/GET \/v1\/(sandboxes\?|quotas|volumes )/.test(line) &&
    (/ (SIG|faults|no faults|settle)/.test(line) || [...names].some((name) => line.includes(name)));
  return trace.filter(about).slice(-30).join("\n");
}
