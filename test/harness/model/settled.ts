import { type Dirent, readdirSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Answered } from "../kept-alive";
import { grown, type Held } from "./held";
import { isSandbox, type Known, type Model, type Models, OWNERS, snapshotKey, volumeKey } from "./model";
import type { World } from "./world";

/** The sweep runs every ten seconds; what failed is settled by two of them, on a machine that is busy by some more. */
const SETTLE_MS = 90_000;
const MEMORY_MIB = 64;
const PAGE = 7;

export type Listed = { id: string; name: string; status: string; paused: boolean; ephemeral: boolean };

/** Whoever asks the gateway with a key. */
type Asker = { ask(method: string, path: string): Promise<Pick<Answered, "status" | "body">> };

/** All pages of the list. @throws Error for one that is not answered 200 */
export async function listAll(asker: Asker, page = PAGE): Promise<Listed[]> {
  const all: Listed[] = [];
  let cursor: string | null = null;
  do {
    const after: string = cursor === null ? "" : `&cursor=${encodeURIComponent(cursor)}`;
    const { status, body } = await asker.ask("GET", `/v1/sandboxes?limit=${page}${after}`);
    if (status !== 200) throw new Error(`list: ${status} ${JSON.stringify(body)}`);
    all.push(...body.data);
    cursor = body.next_cursor;
  } while (cursor !== null);
  return all;
}

/** Ends all faults and waits until everything is as it must be; then the model takes over what nobody could know. */
export async function settle(models: Models, world: World): Promise<void> {
  world.note("settle");
  world.msb.recover();
  await world.answered();
  const left = await become(() => unsettled(models, world), SETTLE_MS);
  if (left.length > 0) throw new Error(`not settled after ${SETTLE_MS / 1000} s: ${left.join("; ")}`);
  for (const owner of OWNERS) {
    const own = world.as(owner);
    const named = (await volumesOf(own)).map(({ id, name }) => ({
      id,
      name: volumeKey(name),
      ephemeral: false,
    }));
    models.of(owner).settle([...(await listAll(own)), ...named, ...(await snapshotsOf(own))]);
  }
}

/** As the model knows them. */
async function snapshotsOf(world: World): Promise<Known[]> {
  const { data } = (await world.ask("GET", "/v1/snapshots?limit=500")).body;
  return data.map(({ name, location }: { name: string; location: { id: string } }) => ({
    ...{ id: location.id, name: snapshotKey(name), ephemeral: false },
  }));
}

const volumesOf = async (world: World): Promise<{ id: string; name: string }[]> =>
  (await world.ask("GET", "/v1/volumes")).body.filter(({ name }: { name: string | null }) => name !== null);

/** Every sandbox can be started and deleted, and nothing of all is left then. */
export async function useAndRemove(models: Models, world: World): Promise<void> {
  for (const owner of OWNERS) await useAndRemoveOwn(models.of(owner), world.as(owner));
  await settle(models, world);
  const left = [...world.msb.sandboxes().keys(), ...world.msb.volumes(), ...world.msb.snapshots()];
  if (left.length > 0) throw new Error(`left after all was deleted: ${JSON.stringify(left)}`);
}

async function useAndRemoveOwn(model: Model, world: World): Promise<void> {
  for (const { id, name, ephemeral } of await listAll(world)) {
    if (!ephemeral) {
      const started = await world.ask("POST", `/v1/sandboxes/${id}/start?wait_for=running`, { body: {} });
      expectAnswer(started, 200, `start of the settled ${name}`);
      if (started.body.status !== "running")
        throw new Error(`the settled ${name} was started and is ${started.body.status}`);
    }
    expectAnswer(await world.ask("DELETE", `/v1/sandboxes/${id}`), 200, `delete of the settled ${name}`);
    expectAnswer(await world.ask("GET", `/v1/sandboxes/${id}`), 404, `get of the deleted ${name}`);
    model.delete(name, id);
  }
  for (const { id, name } of await volumesOf(world)) {
    expectAnswer(await world.ask("DELETE", `/v1/volumes/${id}`), 200, `delete of the volume ${name}`);
    model.delete(volumeKey(name), id);
  }
  for (const { id, name } of await snapshotsOf(world)) {
    expectAnswer(await world.ask("DELETE", `/v1/snapshots/${id}`), 200, `delete of the ${name}`);
    model.delete(name, id);
  }
  const left = await listAll(world);
  if (left.length > 0) throw new Error(`left after all was deleted: ${JSON.stringify(left)}`);
}

/** What the process holds is what it held when it was new. */
export async function flat(world: World, before: Held): Promise<void> {
  const left = await become(async () => grown(before, await world.held()), SETTLE_MS);
  if (left.length > 0) throw new Error(`not flat: ${left.join("; ")}`);
}

/** Asks until there are no problems, or the time is over; the problems that are left. */
async function become(problems: () => Promise<string[]>, timeoutMs: number): Promise<string[]> {
  const deadline = Date.now() + timeoutMs;
  for (let pauseMs = 50; ; pauseMs = Math.min(pauseMs * 2, 1_000)) {
    const left = await problems();
    if (left.length === 0 || Date.now() > deadline) return left;
    await sleep(pauseMs);
  }
}

/** What differs between the model, the gateway and msb; what is half done. */
async function unsettled(models: Models, world: World): Promise<string[]> {
  const problems: string[] = [];
  const all: Listed[] = [];
  const volumes = new Set<string>();
  let snapshots = 0;
  for (const owner of OWNERS) {
    const own = world.as(owner);
    const listed = await listAll(own);
    const named = await volumesOf(own);
    for (const problem of await unsettledOf(models.of(owner), own, listed, named))
      problems.push(`${owner}: ${problem}`);
    all.push(...listed);
    for (const { id } of named) volumes.add(id);
    const captured = await snapshotsOf(own);
    snapshots += captured.length;
    for (const problem of snapshotsUnlike(models.of(owner), captured)) problems.push(`${owner}: ${problem}`);
  }
  const only = world.msb.volumes().filter((id) => !volumes.has(id));
  return [
    ...problems,
    ...unlikeMsb(world, all),
    ...only.map((id) => `only msb has the volume ${id}`),
    ...differs("snapshots", snapshots, world.msb.snapshots().length),
    ...temporaryFiles(world, all),
  ];
}

async function unsettledOf(
  model: Model,
  world: World,
  listed: Listed[],
  named: { id: string; name: string }[],
): Promise<string[]> {
  const quotas = (await world.ask("GET", "/v1/quotas")).body;
  const running = listed.filter(({ status }) => status === "running");
  return [
    ...halfDone(listed),
    ...lostOrLeaked(model, listed),
    ...differs("quotas: total_sandboxes", quotas.total_sandboxes, listed.length),
    ...differs(
      "quotas: running",
      quotas.concurrent_ephemeral_running + quotas.concurrent_persistent_running,
      running.length,
    ),
    ...differs("quotas: memory_mib_used", quotas.memory_mib_used, running.length * MEMORY_MIB),
    ...differs("quotas: vcpus_used", quotas.vcpus_used, running.length),
    ...differs("quotas: total_volumes", quotas.total_volumes, named.length),
    ...volumesUnlike(model, world, named),
  ];
}

/** What is on its way to another state, or has ended and is still listed. */
export const halfDone = (listed: Listed[]): string[] => [
  ...listed
    .filter(({ status }) => status === "starting" || status === "stopping")
    .map(({ name, status }) => `${name} is still ${status}`),
  ...listed
    .filter(({ ephemeral, status }) => ephemeral && status === "stopped")
    .map(({ name }) => `the ephemeral ${name} stopped and is still there`),
];

function lostOrLeaked(model: Model, listed: Listed[]): string[] {
  const ids = new Map(listed.map((each) => [each.id, each]));
  const sandboxes = model.all().filter(isSandbox);
  return [
    ...sandboxes
      .filter(({ id, name }) => !model.inDoubt(name) && ids.get(id)?.name !== name)
      .map(({ id, name }) => `${name} (${id}) is lost`),
    ...listed
      .filter(({ id, name }) => !model.inDoubt(name) && model.get(name)?.id !== id)
      .map(({ id, name }) => `${name} (${id}) is there, and nobody was told of it`),
    ...(ids.size === listed.length ? [] : ["an id is listed twice"]),
  ];
}

/** msb knows each sandbox by its id. */
function unlikeMsb({ msb }: World, listed: Listed[]): string[] {
  const made = msb.sandboxes();
  const ids = new Set(listed.map(({ id }) => id));
  return [
    ...[...made.keys()].filter((id) => !ids.has(id)).map((id) => `only msb has ${id}`),
    ...listed.flatMap(({ id, name, ephemeral, status, paused }) => {
      const there = made.get(id);
      if (ephemeral && status === "failed" && there)
        return [`the ephemeral ${name} ended and is still there`];
      const runs = there === (paused ? "Paused" : "Running");
      if ((status === "running") === runs && (there || status in NOT_MADE)) return [];
      return [`${name} (${id}) is ${status}, and msb says ${there}`];
    }),
  ];
}

/** What msb need not have anything of. */
const NOT_MADE = { created: true, failed: true };

/** msb and the gateway have the same volumes, and those that were promised. */
function volumesUnlike(model: Model, { msb }: World, named: { id: string; name: string }[]): string[] {
  const made = new Set(msb.volumes());
  const ids = new Set(named.map(({ id }) => id));
  return [
    ...named.filter(({ id }) => !made.has(id)).map(({ id }) => `msb has no volume ${id}`),
    ...model
      .all()
      .filter(({ id, name }) => name.startsWith(volumeKey("")) && !model.inDoubt(name) && !ids.has(id))
      .map(({ id, name }) => `the ${name} (${id}) is lost`),
    ...named.flatMap(({ id, name }) => {
      const key = volumeKey(name);
      return model.inDoubt(key) || model.get(key)?.id === id ? [] : [`nobody was told of the ${key} (${id})`];
    }),
  ];
}

/** Those that were promised are there, and nobody was told of others. */
const snapshotsUnlike = (model: Model, captured: Known[]): string[] => [
  ...model
    .all()
    .filter(({ name }) => name.startsWith(snapshotKey("")) && !model.inDoubt(name))
    .filter(({ id }) => !captured.some((each) => each.id === id))
    .map(({ id, name }) => `the ${name} (${id}) is lost`),
  ...captured
    .filter(({ id, name }) => !model.inDoubt(name) && model.get(name)?.id !== id)
    .map(({ id, name }) => `nobody was told of the ${name} (${id})`),
];

const differs = (what: string, is: unknown, should: number): string[] =>
  is === should ? [] : [`${what}: ${is}, not ${should}`];

/** Files of what is over; a payload is kept until its sandbox was made. */
function temporaryFiles({ home, msb }: World, listed: Listed[]): string[] {
  const state = join(home, "gateway");
  const filesIn = (folder: string): string[] =>
    entriesOf(join(state, folder)).flatMap((entry) =>
      entry.isDirectory() ? filesIn(join(folder, entry.name)) : [entry.name],
    );
  const made = msb.sandboxes();
  const waiting = new Set(listed.filter(({ id }) => !made.has(id)).map(({ id }) => `${id}.json`));
  const left = [
    ...[...filesIn("tmp"), ...filesIn("uploads")],
    ...filesIn("payloads").filter((name) => !waiting.has(name)),
    ...filesIn(".").filter((name) => /\.tmp$|\.unreadable$/.test(name)),
  ];
  const folders = entriesOf(join(state, "tmp")).map(({ name }) => name);
  return [...left, ...folders].map((name) => `a temporary file: ${name}`);
}

/** What is in a folder; nothing once it has gone, which it may at any moment. */
function entriesOf(folder: string): Dirent[] {
  try {
    return readdirSync(folder, { withFileTypes: true });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    return [];
  }
}

export function expectAnswer(answer: { status: number; body: unknown }, status: number, what: string): void {
  if (answer.status !== status) throw new Error(`${what}: ${answer.status} ${JSON.stringify(answer.body)}`);
}
