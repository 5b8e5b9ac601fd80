import { randomUUID } from "node:crypto";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { GatewayProcess, newHome } from "../../test/harness/gateway";
import states from "../../test/unit/gateway/states/659e3d2.json";
import { inTurn, type Line, ratioLine } from "./figures";
import type { Bundles } from "./setup";

const [FEW, MANY] = [100, 10_000];
const ROUNDS = 5;
const GETS = 300;
const CREATES = 10;
const GOAL = { atMost: 1.5 };

/** Get and create beside 10,000 sandboxes that are stopped, against the same beside 100. */
export async function scale(bundles: Bundles): Promise<Line[]> {
  const many = await filled(bundles, MANY);
  const few = await filled(bundles, FEW).catch(async (error) => {
    await many.gateway.remove();
    throw error;
  });
  try {
    const measured = async (measure: (each: Filled) => Promise<number>) => {
      const [ours = [], theirs = []] = await inTurn(ROUNDS, [() => measure(many), () => measure(few)]);
      return { against: `${FEW} known`, unit: "ms", ours, theirs };
    };
    const known = `${MANY.toLocaleString("en")} known`;
    return [
      ratioLine({ what: `GET /v1/sandboxes/ID, ${known}`, ...(await measured(get)) }, GOAL),
      ratioLine({ what: `create and start, ${known}`, ...(await measured(create)) }, GOAL),
    ];
  } finally {
    await Promise.all([many.gateway.remove(), few.gateway.remove()]);
  }
}

type Filled = { gateway: GatewayProcess; ids: string[] };

/** A gateway whose msb has that many stopped sandboxes. They are written as 659e3d2 did, which any later one takes over. */
export async function filled(
  bundles: Bundles,
  count: number,
  more: Record<string, string> = {},
): Promise<Filled> {
  const home = newHome();
  const [pattern] = Object.entries(states.stopped.files)
    .filter(([path]) => path.startsWith("gateway/sandboxes/"))
    .map(([, text]) => JSON.parse(text))
    .filter(({ name }) => name === "stopped");
  const records = join(home, "gateway/sandboxes");
  for (const folder of [records, join(home, "fake/sandboxes")]) mkdirSync(folder, { recursive: true });
  const rows: string[] = [];
  const ids = Array.from({ length: count }, (_, number) => {
    const [id, name] = [randomUUID(), `known-${number}`];
    const owner = null;
    writeFileSync(join(records, `${id}.json`), JSON.stringify({ ...pattern, ...{ id, name, owner } }));
    const row = { name, status: "Stopped", created_at: pattern.createdAt, image: "starter" };
    rows.push(JSON.stringify(row));
    return id;
  });
  writeFileSync(join(home, "fake/known"), rows.join(","));
  const env = { LIMIT_TOTAL_SANDBOXES: "1000000", ...more };
  const gateway = await GatewayProcess.start({ script: bundles.gateway, home, env });
  const { status } = await gateway.request("GET", `/v1/sandboxes/${ids.at(-1)}`);
  if (status !== 200) throw new Error(`a sandbox that was written is not known: ${status}`);
  return { gateway, ids };
}

/** Milliseconds for a get, of any of them. */
async function get({ gateway, ids }: Filled): Promise<number> {
  const began = performance.now();
  for (let number = 0; number < GETS; number++) {
    const id = ids[Math.floor(Math.random() * ids.length)];
    const { status, body } = await gateway.request("GET", `/v1/sandboxes/${id}`);
    if (status !== 200 || body.id !== id) throw new Error(`get: ${status}`);
  }
  return (performance.now() - began) / GETS;
}

/** Milliseconds for a create and its start; they are removed again, untimed. */
async function create({ gateway }: Filled): Promise<number> {
  const names = Array.from({ length: CREATES }, () => `new-${randomUUID()}`);
  const began = performance.now();
  const made: string[] = [];
  for (const name of names) made.push((await gateway.create(name)).id);
  const spent = performance.now() - began;
  for (const id of made) await gateway.request("DELETE", `/v1/sandboxes/${id}`);
  return spent / CREATES;
}
