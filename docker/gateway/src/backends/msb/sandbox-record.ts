import * as z from "zod";
import type { ErrorKind } from "../../errors";
import type { Wanted } from "../../sandboxes/backend";
import { CompactSpec } from "../../sandboxes/compact-spec";
import { keptSpec, storedSpec } from "../../sandboxes/payload";
import { boundedResolved } from "../../sandboxes/resolved";
import { desiredState, isUp, STATES, type State, sandboxState } from "../../sandboxes/states";
import { type EgressPolicy, recordedEgress } from "./egress";

const time = z.iso.datetime({ offset: true });

const resolved = z.object({
  reference: z.string(),
  vcpus: z.number(),
  memoryMib: z.number(),
  workdir: z.string().nullish(),
  shell: z.string().nullish(),
  user: z.string().nullish(),
  entrypoint: z.array(z.string()).nullish(),
  cmd: z.array(z.string()).nullish(),
  labels: z.record(z.string(), z.string()),
});
/** Older gateways kept whatever an image says. */
const keptResolved = resolved.transform((all) => boundedResolved(all).resolved);

const policies = new Map<string, EgressPolicy>();
const MOST_POLICIES = 64;

/** One object for all sandboxes that were made under the same policy. */
export function sharedPolicy(policy: EgressPolicy): EgressPolicy {
  const text = JSON.stringify(policy);
  const known = policies.get(text) ?? policy;
  if (policies.size < MOST_POLICIES) policies.set(text, known);
  return known;
}

const currentRecord = z.object({
  id: z.string(),
  /** What msb calls it: the id; the name for one that was made with msb itself or by a gateway before 0.2. */
  handle: z.string(),
  name: z.string(),
  slug: z.string(),
  /** Id of the key that made it; null for one made with msb itself. */
  owner: z.string().nullable(),
  state: sandboxState,
  desired: desiredState,
  /** Whether a client was told of it: what is not answered leaves nothing behind. */
  answered: z.boolean(),
  ephemeral: z.boolean(),
  /** Whether a pause is the server's own, as nobody used it, and hidden from clients. */
  idle: z.boolean().default(false),
  /** Null for one that msb made without us. */
  spec: storedSpec.transform((spec) => new CompactSpec(spec)).nullable(),
  /** Ids of the named volumes that it mounts, by the names in its spec. */
  volumes: z.record(z.string(), z.string()).default({}),
  /** Id of the snapshot that it starts from; null for an image. */
  snapshot: z.string().nullable().default(null),
  /** Id of the sandbox that it was forked from; null for one that booted by itself. */
  forkOf: z.string().nullable().default(null),
  /** Whether it was given secrets; of those of older gateways that is not known. */
  secrets: z.boolean().default(true),
  /** Layers of its disk beyond the first: each capture of it while it runs adds one. */
  layers: z.number().default(0),
  /** What its network rules were made from, or are to be while it is not made; absent for one made with msb, or by an older gateway. */
  egress: recordedEgress.transform(sharedPolicy).optional(),
  /** What msb made of it; filled in when first needed. */
  resolved: keptResolved.nullable(),
  createdAt: z.string(),
  startedAt: z.string().nullable(),
  stoppedAt: z.string().nullable(),
  /** When the server stops it, whatever happens; null for never. */
  expiresAt: time.nullable(),
  /** Until when one that is gone is kept, or more may still come of one that is removed. */
  keepUntil: time.nullable(),
  failure: z
    .object({ kind: z.string().transform((kind) => kind as ErrorKind), message: z.string() })
    .nullable(),
});
export type SandboxRecord = z.output<typeof currentRecord>;

/** A record of gateways before 0.2, which called every sandbox in msb as its client did. */
const recordBefore02 = z.looseObject({
  name: z.string(),
  phase: z.enum(["pending", "creating", "known", "removing", "abandoned", "gone"]),
  startedAt: z.string().nullable(),
  stoppedAt: z.string().nullable(),
  expiresAt: z.number().nullable(),
  keepUntil: z.number().nullable(),
  lastFailure: z.string().nullable(),
});

function takenOver(old: z.output<typeof recordBefore02>): z.input<typeof currentRecord> {
  const { phase, lastFailure, expiresAt, keepUntil, ...rest } = old;
  const known = old.startedAt !== null && old.stoppedAt === null ? "running" : "stopped";
  const states = {
    pending: lastFailure === null ? "created" : "unmade",
    creating: "making",
    // What msb itself says of it is looked up before the first request.
    known,
    removing: "removing",
    abandoned: "removing",
    gone: "gone",
  } as const;
  const state = states[phase];
  const desired =
    state === "removing" ? "removed" : state === "running" || state === "making" ? "running" : "stopped";
  const iso = (at: number | null) => (at === null ? null : new Date(at).toISOString());
  return {
    ...(rest as unknown as z.input<typeof currentRecord>),
    ...{ handle: old.name, state, desired },
    expiresAt: iso(expiresAt),
    keepUntil: iso(keepUntil),
    failure: lastFailure === null ? null : { kind: "runtimeFailed", message: lastFailure },
  };
}

/** Reads a record of this version or the one before. */
export const sandboxRecord: z.ZodType<SandboxRecord> = z.preprocess((raw) => {
  const old = recordBefore02.safeParse(raw);
  return old.success ? takenOver(old.data) : raw;
}, currentRecord);

const blank = {
  ...{ resolved: null, startedAt: null, stoppedAt: null, expiresAt: null, keepUntil: null, failure: null },
  idle: false,
} as const;

/** The record of a sandbox that was asked for. */
export function newRecord(
  { spec, slug, owner, desired, snapshot }: Wanted,
  egress: EgressPolicy,
  id: string,
): SandboxRecord {
  return {
    ...blank,
    ...{ id, handle: id, name: spec.name, slug, owner, state: "created", desired, volumes: {} },
    ...{ snapshot: snapshot ?? null, forkOf: null, layers: 0 },
    secrets: (spec.network.secrets?.entries.length ?? 0) > 0,
    egress: sharedPolicy(egress),
    spec: new CompactSpec(keptSpec(spec)),
    answered: desired === "stopped",
    ephemeral: spec.lifecycle.ephemeral,
    createdAt: new Date().toISOString(),
  };
}

/** The record of a fork that was asked for: all that its source is, under a name of its own. */
export function forkRecord(
  source: SandboxRecord & { spec: CompactSpec },
  name: string,
  id: string,
): SandboxRecord {
  const { owner, volumes, secrets, egress, resolved, ephemeral, layers } = source;
  return {
    ...blank,
    ...{ id, handle: id, name, slug: name, owner, state: "created", desired: "running", answered: false },
    ...{ snapshot: null, forkOf: source.id, volumes, secrets, egress, resolved, ephemeral, layers },
    spec: new CompactSpec({ ...source.spec.whole(), name }),
    createdAt: new Date().toISOString(),
  };
}

/** The record of a sandbox that was made with msb itself. */
export function adoptedRecord(id: string, handle: string, name: string, createdAt: string): SandboxRecord {
  return {
    ...blank,
    ...{ id, handle, name, slug: name, owner: null, spec: null, volumes: {} },
    ...{ snapshot: null, forkOf: null, secrets: true, layers: 0 },
    ...{ state: "stopped", desired: "stopped", answered: true, ephemeral: false, createdAt },
  };
}

/** Nobody knows of it; it is kept for what a process of the last server may still make of it. */
export const isInterrupted = ({ answered, desired, keepUntil }: SandboxRecord): boolean =>
  !answered && desired === "removed" && keepUntil !== null;

type Pause = Pick<SandboxRecord, "state" | "desired" | "idle">;

/** Its CPUs stand still as a client wants, and nobody has asked for them since. */
export const isPaused = (record: Pause): boolean => standsStill(record) && !record.idle;

/** Its CPUs stand still as nobody uses them. */
export const isPausedIdle = (record: Pause): boolean => standsStill(record) && record.idle;

const standsStill = ({ state, desired }: Pause): boolean => state === "paused" && desired === "paused";

/** What follows from entering a state alone. */
export function entering(before: SandboxRecord, state: State): Partial<SandboxRecord> {
  const now = new Date().toISOString();
  if (state === "running" || state === "paused") {
    // A pause is no start, nor is a stop that failed.
    const since = before.state === "stopping" || isUp(before.state) ? before.startedAt : now;
    const idle = state === "paused" && before.idle;
    return { state, idle, startedAt: since, stoppedAt: null, failure: null };
  }
  if (STATES[before.state].alive && (state === "stopped" || state === "failed"))
    return { state, idle: false, stoppedAt: now };
  return { state };
}

/** Whether msb knows nothing of it yet. */
export const isUnmade = ({ state }: SandboxRecord): boolean =>
  state === "created" || state === "making" || state === "unmade";
