import * as z from "zod";
import type {
  ListQuery,
  Owner,
  Reference,
  Sandbox,
  Scope,
  Wanted,
  WantedVolume,
} from "../../sandboxes/backend";
import type { NamedKind, VolumeReferences } from "../../sandboxes/changes";
import type { INHERITABLE } from "../../sandboxes/forks";
import type { Modification, PlannedModification } from "../../sandboxes/modification";
import type { SnapshotQuery, SnapshotReference, WantedSnapshot } from "../../sandboxes/snapshots";
import type { SandboxStatus } from "../../sandboxes/spec";
import type { Desired } from "../../sandboxes/states";
import { isMade } from "./endings";
import { type Folder, filesOf, pathOf, type SentPath, sentInfo } from "./files-wire";
import { type PartQuery, partOf } from "./parts";
import {
  fileInfo,
  flag,
  limits,
  nothing,
  number,
  operation,
  sandbox,
  snapshot,
  text,
  volume,
} from "./shapes";
import type { Served } from "./wire";

/** Milliseconds that a create may take: it looks for room, and writes its record. */
const CREATE_MS = 5 * 60_000;
/** Milliseconds for what may go through a whole folder, or a large file. */
const FILES_MS = 60 * 60_000;

type Options = {
  /** Nothing changes by it, so it may be done twice. */
  reads?: boolean;
  /** Milliseconds within which it is answered. Default: the client's own. */
  ms?: number;
  /** It waits for no connection, and keeps none from what is answered soon. Default: what has an `ms` */
  own?: boolean;
};

const call = <A extends unknown[], R>(
  run: (served: Served, ...args: A) => Promise<R>,
  /** What an answer has at least: the server may be of another version. */
  answer: z.ZodType,
  { reads = false, ms, own = ms !== undefined }: Options = {},
) => ({ run, answer, reads, ms, own });

const READS = { reads: true };
/** One key's list may be long in coming. */
const LISTS = { reads: true, own: true };
const maybe = (shape: z.ZodType) => shape.optional();
const page = (shape: z.ZodType) => z.looseObject({ items: z.array(shape), more: flag });
const plan = z.looseObject({ status: text, applied: flag, changes: z.array(z.looseObject({})) });

/** What getters of a class tell, JSON does not see. */
export const sent = (sandbox: Sandbox): Sandbox => ({
  ...sandbox,
  version: sandbox.version,
  spec: sandbox.spec,
});
const sentIfAny = (sandbox: Sandbox | undefined) => sandbox && sent(sandbox);

/** Forks, with a set as a list. */
export type SentForks = { names: string[]; inherit: (typeof INHERITABLE)[number][] };

/**
 * All that is asked of a server with one question and one answer, by name. Arguments and results are JSON: what JSON
 * can't hold is converted here. An argument that may be undefined is a field, as a list has null in its place.
 */
export const CALLS = {
  "sandboxes.create": call(
    async ({ backend, endings }, wanted: Wanted) => {
      const made = await backend.sandboxes.create(wanted);
      endings.watch(made.id, isMade);
      return sent(made);
    },
    sandbox,
    { ms: CREATE_MS },
  ),
  "sandboxes.answered": call(({ backend }, id: string) => backend.sandboxes.answered(id), nothing),
  "sandboxes.get": call(
    async ({ backend }, reference: Reference, scope: Scope) =>
      sentIfAny(await backend.sandboxes.get(reference, scope)),
    maybe(sandbox),
    READS,
  ),
  "sandboxes.resolve": call(
    async ({ backend }, id: string) => sentIfAny(await backend.sandboxes.resolve(id)),
    maybe(sandbox),
    READS,
  ),
  "sandboxes.list": call(
    async ({ backend }, query: Omit<ListQuery, "charged">) => {
      const { items, ...rest } = await backend.sandboxes.list(query);
      return { ...rest, items: items.map(sent) };
    },
    page(sandbox),
    READS,
  ),
  "sandboxes.want": call(async ({ backend, endings }, id: string, desired: Desired) => {
    if (desired === "removed") endings.watch(id, () => false);
    return sent(await backend.sandboxes.want(id, desired));
  }, sandbox),
  "sandboxes.resume": call(
    async ({ backend }, id: string) => sent(await backend.sandboxes.resume(id)),
    sandbox,
  ),
  "sandboxes.fork": call(
    async ({ backend, endings }, id: string, { names, inherit }: SentForks) => {
      const forks = await backend.sandboxes.fork(id, { names, inherit: new Set(inherit) });
      for (const fork of forks) endings.watch(fork.id, isMade);
      return forks.map(sent);
    },
    z.array(sandbox),
    { ms: CREATE_MS },
  ),
  "sandboxes.planModification": call(
    ({ backend }, id: string, change: PlannedModification) => backend.sandboxes.planModification(id, change),
    plan,
    READS,
  ),
  "sandboxes.modify": call(
    ({ backend }, id: string, change: Modification) => backend.sandboxes.modify(id, change),
    plan,
    { ms: CREATE_MS },
  ),
  "sandboxes.changes": call(
    async ({ backend }, { since }: { since?: string }) => {
      const { changed, ...rest } = await backend.sandboxes.changes(since);
      // Rows as they were, for a router of an older version.
      return { ...rest, changed: changed.map((row) => ({ ...sent(row), marks: row.marks })) };
    },
    z.looseObject({
      anew: flag,
      changed: z.array(sandbox),
      removed: z.array(text),
      moment: text,
      more: flag,
    }),
    READS,
  ),
  "sandboxes.whole": call(
    async ({ backend }, ids: string[], room: number) => {
      const { items, looked } = await backend.sandboxes.whole(ids, room);
      return { looked, items: items.map(sent) };
    },
    z.looseObject({ items: z.array(sandbox), looked: number }),
    LISTS,
  ),
  /** All of them for a router of an older version, which asks for no part. */
  "volumes.list": call(
    async ({ backend }, scope: Scope, part?: PartQuery) => {
      const all = await backend.volumes.list(scope);
      return part ? partOf(all, part) : all;
    },
    z.union([page(volume), z.array(volume)]),
    LISTS,
  ),
  "volumes.known": call(
    ({ backend }, references: VolumeReferences, scope: Scope) => backend.volumes.known(references, scope),
    z.array(text),
    READS,
  ),
  "volumes.shared": call(({ backend }) => backend.volumes.shared(), volume, READS),
  "volumes.create": call(({ backend }, wanted: WantedVolume) => backend.volumes.create(wanted), volume, {
    ms: CREATE_MS,
  }),
  "volumes.remove": call(
    ({ backend }, id: string, scope: Scope) => backend.volumes.remove(id, scope),
    nothing,
  ),
  "snapshots.create": call(
    ({ backend }, wanted: WantedSnapshot) => backend.snapshots.create(wanted),
    operation,
    { ms: CREATE_MS },
  ),
  "snapshots.operation": call(
    ({ backend }, id: string, scope: Scope) => backend.snapshots.operation(id, scope),
    maybe(operation),
    READS,
  ),
  "snapshots.list": call(
    async ({ backend }, { room, ...query }: Omit<SnapshotQuery, "charged">) => {
      const { items, more } = await backend.snapshots.list(query);
      const part = partOf(items, { room });
      return { items: part.items, more: more || part.more };
    },
    page(snapshot),
    LISTS,
  ),
  "snapshots.find": call(
    ({ backend }, reference: SnapshotReference, scope: Scope) => backend.snapshots.find(reference, scope),
    maybe(snapshot),
    READS,
  ),
  "snapshots.remove": call(
    ({ backend }, id: string, scope: Scope) => backend.snapshots.remove(id, scope),
    nothing,
  ),
  /** Whether there are such files. */
  "files.open": call(async (served, folder: Folder) => void (await filesOf(served, folder)), nothing, READS),
  "files.stat": call(
    async (served, folder: Folder, path: SentPath) =>
      sentInfo(await (await filesOf(served, folder)).stat(pathOf(path))),
    fileInfo,
    READS,
  ),
  "files.exists": call(
    async (served, folder: Folder, path: SentPath) => (await filesOf(served, folder)).exists(pathOf(path)),
    flag,
    READS,
  ),
  "files.mkdir": call(
    async (served, folder: Folder, path: SentPath) => (await filesOf(served, folder)).mkdir(pathOf(path)),
    nothing,
  ),
  "files.copy": call(
    async (served, folder: Folder, from: SentPath, to: SentPath) =>
      (await filesOf(served, folder)).copy(pathOf(from), pathOf(to)),
    nothing,
    { ms: FILES_MS },
  ),
  "files.rename": call(
    async (served, folder: Folder, from: SentPath, to: SentPath) =>
      (await filesOf(served, folder)).rename(pathOf(from), pathOf(to)),
    nothing,
  ),
  "files.remove": call(
    async (served, folder: Folder, path: SentPath, options: { recursive: boolean }) =>
      (await filesOf(served, folder)).remove(pathOf(path), options),
    nothing,
    { ms: FILES_MS },
  ),
  ping: call(({ backend }) => backend.ping(), nothing, LISTS),
  hasName: call(
    ({ backend }, kind: NamedKind, name: string, scope: Scope) => backend.hasName(kind, name, scope),
    flag,
    READS,
  ),
  limits: call(async ({ backend }) => ({ ...(await backend.limits()) }), limits, READS),
  usage: call(
    ({ backend }, { owner }: { owner?: Owner }) => backend.usage(owner),
    z.record(text, number),
    READS,
  ),
  statuses: call(
    ({ backend }): Promise<Record<SandboxStatus, number>> => backend.statuses(),
    z.record(text, number),
    READS,
  ),
  version: call(({ backend }) => backend.version(), text, READS),
  readiness: call(
    ({ backend }) => backend.readiness(),
    z.looseObject({ ready: flag, checks: z.record(text, z.looseObject({ ok: flag })) }),
    READS,
  ),
};

export type Calls = typeof CALLS;
export type CallName = keyof Calls;
type Run<N extends CallName> = Calls[N]["run"] extends (served: Served, ...args: infer A) => Promise<infer R>
  ? { args: A; result: R }
  : never;
export type CallArguments<N extends CallName> = Run<N>["args"];
export type CallResult<N extends CallName> = Run<N>["result"];

export const isCall = (name: string): name is CallName => Object.hasOwn(CALLS, name);
