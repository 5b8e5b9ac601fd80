import { createBody } from "../gateway";
import { type Answered, Unanswered } from "../kept-alive";
import { isSandbox, type Model, type Models, volumeKey } from "./model";
import { listAll } from "./settled";
import type { World } from "./world";

const STATUSES = new Set(["active", "created", "starting", "running", "stopping", "stopped", "failed"]);

/** What the contract has for failures that are not the client's. */
const FAILURES = new Set([502, 503, 504, 507]);

/** What an answer may be: one of these while somebody else is busy with the same name, a 5xx while there are faults. */
export function check(
  { model, world }: { model: Model; world: World },
  what: string,
  { status, body, headers }: Answered,
  allowed: number[],
): void {
  const said: string = body?.error?.message ?? [body?.status, body?.id].join(" ");
  const text = `${what}: ${status} ${said}`;
  if (FAILURES.has(status) && model.troubled) return;
  // A server that stops says so, and one on a machine that has no time for it.
  const busy = world.ending || /has no (time|memory) left/.test(said);
  if (status === 503 && busy && Number(headers["retry-after"]) > 0) return;
  if (!allowed.includes(status)) throw new Error(`${text}; expected one of ${allowed}`);
  if (status === 200 && body.status !== undefined && !STATUSES.has(body.status))
    throw new Error(`${text}: not a status of the contract`);
}

/** A create as a client asks for it. */
export type Create = {
  name: string;
  start: boolean;
  ephemeral: boolean;
  image: string;
  waitSeconds: number;
  leaveAfterMs: number | undefined;
  /** With a script and a patch, which are kept apart from the record until it is made. */
  payload: boolean;
  /** With the volume that no step removes, where there is one. */
  mount: boolean;
};

const PAYLOAD = {
  runtime: {
    workdir: "/tmp",
    shell: null,
    scripts: { run: "true" },
    entrypoint: null,
    cmd: null,
    user: null,
  },
  patches: [{ type: "text", path: "/patch", content: "x", mode: 0o644, replace: true }],
};

export async function create(model: Model, world: World, asked: Create): Promise<void> {
  const { name, start, ephemeral, image, waitSeconds, leaveAfterMs, payload } = asked;
  const held = model.get(name);
  const unsure = model.inDoubt(name) || model.troubled;
  const end = model.begin(name);
  if (ephemeral) model.linger(name);
  const waited = start && waitSeconds > 0;
  const query = start ? `?start=true&wait_for=running&wait_timeout=${waitSeconds}` : "";
  const lifecycle = { ephemeral, max_duration_secs: null, idle_timeout_secs: null };
  // What never boots can't be used, however settled.
  const data = asked.mount ? model.get(volumeKey(keptVolume(world))) : undefined;
  const mounts = data ? [mountOf(keptVolume(world))] : [];
  const change = { reference: waited ? image : "starter", lifecycle, mounts, ...(payload && PAYLOAD) };
  const body = createBody(name, change);
  let answer: Answered;
  try {
    answer = await world.ask("POST", `/v1/sandboxes${query}`, { body, leaveAfterMs });
  } catch (error) {
    model.doubt(name);
    end();
    throw error;
  }
  const sure = end() && !unsure && !model.inDoubt(name);
  const bad = waited && (image === "broken" || image === "absent");
  const failures = [...(bad ? [400, 502] : []), ...(mounts.length > 0 ? [404] : [])];
  check(
    { model, world },
    `create ${name}`,
    answer,
    sure ? (held ? [409] : bad ? failures : [200]) : [200, 409, ...failures],
  );
  if (answer.status !== 200) return;
  const { id, status } = answer.body;
  const before = model.get(name);
  if (before && before.id !== id && sure)
    throw new Error(`create ${name}: answered ${id} beside ${before.id}`);
  model.add({ id, name, ephemeral });
  // One that is told to be "starting" may end untold, and one that is told by a server that stops is stopped with it.
  if (ephemeral && (status !== "running" || world.ending)) model.doubt(name);
}

export type Verb = "get" | "start" | "pause" | "resume" | "stop" | "delete";

/** A request about a sandbox that was answered once, by its id or its name. */
export async function about(
  model: Model,
  world: World,
  name: string,
  byName: boolean,
  verb: Verb,
): Promise<void> {
  const known = model.get(name);
  if (!known && !byName) return;
  const unsure = model.inDoubt(name);
  const end = model.begin(name);
  // Whatever becomes of these, the sandbox is not certain to be there while they are under way.
  const removes = verb === "delete" || (verb === "stop" && known?.ephemeral);
  const path = byName ? `/v1/sandboxes/by-name/${name}` : `/v1/sandboxes/${known?.id}`;
  const method = verb === "get" ? "GET" : verb === "delete" ? "DELETE" : "POST";
  const tail = verb === "start" ? "/start?wait_for=running" : method === "POST" ? `/${verb}` : "";
  let answer: Answered;
  try {
    answer = await world.ask(method, `${path}${tail}`, method === "POST" ? { body: {} } : {});
  } catch (error) {
    if (removes) model.doubt(name);
    end();
    throw error;
  }
  const sure = end() && !unsure && !model.inDoubt(name);
  const others = verb === "get" ? [404] : [404, 409];
  // Whether it runs, no model knows; it may end before msb is asked.
  const runs = verb === "pause" || verb === "resume" ? [409, 502] : verb === "start" ? [502] : [];
  // It may meet a create that never boots, and is told why.
  const neverBoots = verb === "start" ? [400, 502] : [];
  check(
    { model, world },
    `${verb} ${name}`,
    answer,
    sure && !model.lingers(name) ? [known ? 200 : 404, ...runs] : [200, ...others, ...runs, ...neverBoots],
  );
  if (sure && answer.status === 404 && known) throw new Error(`${verb} ${name}: ${known.id} is lost`);
  if (sure && known && answer.status === 200 && verb !== "delete" && answer.body.id !== known.id)
    throw new Error(`${verb} ${name}: ${answer.body.id} answers, not ${known.id}`);
  if (verb === "delete" && sure && known && answer.status === 200) model.delete(name, known.id);
  else if (removes && answer.status !== 404) model.doubt(name);
}

/** A fork of a sandbox that was answered once, under a name that something else may have. */
export async function fork(model: Model, world: World, source: string, name: string): Promise<void> {
  const known = model.get(source);
  if (!known || name === source) return;
  const ends = [source, name].map((each) => model.begin(each));
  if (known.ephemeral) model.linger(name);
  let answer: Answered;
  try {
    answer = await world.ask("POST", `/v1/sandboxes/${known.id}/fork`, { body: { names: [name] } });
  } catch (error) {
    model.doubt(name);
    throw error;
  } finally {
    for (const end of ends) end();
  }
  // Whether its source runs, no model knows; it may end before msb is asked.
  check({ model, world }, `fork ${source} as ${name}`, answer, [200, 404, 409, 502]);
  if (answer.status !== 200) return;
  for (const { id, status, ephemeral } of answer.body.forks) {
    model.add({ id, name, ephemeral });
    if (ephemeral && (status !== "running" || world.ending)) model.doubt(name);
  }
}

/** Every sandbox that nobody is busy with is in the list, with its id and once. */
export async function list(model: Model, world: World): Promise<void> {
  const before = model.all().filter(isSandbox);
  const ends = before.map(({ name }) => model.begin(name));
  try {
    const listed = await listAll(world);
    const ids = new Set(listed.map(({ id }) => id));
    if (ids.size < listed.length) throw new Error("list: an id twice");
    for (const [index, { id, name }] of before.entries())
      if (ends[index]?.() && !model.inDoubt(name) && !ids.has(id))
        throw new Error(`list: ${name} (${id}) is lost`);
  } catch (error) {
    if (!model.troubled) throw error;
  }
}

export async function volume(model: Model, world: World, name: string, remove: boolean): Promise<void> {
  const key = volumeKey(name);
  const known = model.get(key);
  if (remove && !known) return;
  const unsure = model.inDoubt(key) || model.troubled;
  const end = model.begin(key);
  try {
    const answer = remove
      ? await world.ask("DELETE", `/v1/volumes/${known?.id}`)
      : await world.ask("POST", "/v1/volumes", { body: { name } });
    const sure = end() && !unsure && !model.inDoubt(key);
    const what = `${remove ? "delete" : "create"} ${key}`;
    check({ model, world }, what, answer, sure ? [remove || !known ? 200 : 409] : [200, 404, 409]);
    if (answer.status === 200 && !remove) model.add({ id: answer.body.id, name: key, ephemeral: false });
    else if (answer.status === 200 && known) model.delete(key, known.id);
    else if (answer.status !== 409) model.doubt(key);
  } catch (error) {
    if (error instanceof Unanswered) model.doubt(key);
    throw error;
  }
}

export async function readLog(model: Model, world: World, name: string, ms: number): Promise<void> {
  const known = model.get(name);
  if (!known) return;
  // It has no end while the sandbox runs.
  const answer = await world.ask("GET", `/v1/sandboxes/${known.id}/logs`, { leaveAfterMs: ms });
  check({ model, world }, `logs of ${name}`, answer, [200, 404]);
}

export async function pipe(model: Model, world: World, name: string, ms: number): Promise<void> {
  const known = model.get(name);
  if (!known) return;
  const status = await world.openPipe(known.id, ms);
  world.note(`pipe to ${name} -> ${status}`);
  check({ model, world }, `pipe to ${name}`, { status, body: {}, headers: {} }, [101, 404, 409]);
}

/** A file of a volume is written, or half of it. */
export async function upload(
  model: Model,
  world: World,
  name: string,
  bytes: number,
  sent: number,
): Promise<void> {
  const known = model.get(volumeKey(name));
  if (!known) return;
  const answer = await world.upload(known.id, bytes, sent);
  world.note(`upload to ${name} -> ${answer.status}`);
  check({ model, world }, `upload to ${name}`, answer, [200, 404]);
}

/** The volume that sandboxes mount; no step removes it. */
export const keptVolume = ({ run }: World): string => `kept-${run}`;

const mountOf = (name: string) => ({
  ...{ type: "named", name, guest: "/data" },
  options: { readonly: false, noexec: false, nosuid: false, nodev: false },
});

/** A microVM ends by itself. */
export async function die(
  model: Model,
  world: World,
  name: string,
  how: "Crashed" | "Stopped",
): Promise<void> {
  const known = model.get(name);
  if (!known) return;
  if (known.ephemeral) model.doubt(name);
  if (!world.msb.die(known.id, how)) return;
  world.note(`${name} (${known.id}) is ${how}`);
  world.agents.end(known.id);
}

export async function restart(models: Models, world: World, signal: "SIGKILL" | "SIGTERM"): Promise<void> {
  world.note(signal);
  for (const model of models.all())
    for (const { name, ephemeral } of model.all()) if (ephemeral) model.doubt(name);
  await world.restart(signal);
}
