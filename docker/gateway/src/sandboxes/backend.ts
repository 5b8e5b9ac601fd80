import type { Duplex } from "node:stream";
import type { ErrorKind } from "../errors";
import type { Limits } from "../limits/capacity";
import type { WantedForks } from "./forks";
import type { Modification, ModificationPlan, PlannedModification } from "./modification";
import type { Charged, Owner, Position, Scope } from "./scope";
import type { SnapshotBackend } from "./snapshots";
import type { SandboxSpec, SandboxStatus } from "./spec";
import type { Desired } from "./states";
import type { FileCaller, VolumeFiles } from "./volume-files";

export type { Charged, Owner, Position, Scope } from "./scope";

/** How a sandbox is named in a request. */
export type Reference = { id: string } | { name: string };

/** Credentials that serve one pull and are kept nowhere. */
export type RegistryLogin = { username: string; password: string };

/** What the backend made of a spec: the image's own defaults are filled in. */
export type Resolved = {
  reference: string;
  vcpus: number;
  memoryMib: number;
  workdir?: string | null;
  shell?: string | null;
  user?: string | null;
  entrypoint?: string[] | null;
  cmd?: string[] | null;
  labels: Record<string, string>;
};

/** A sandbox as it stands. */
export type Sandbox = {
  id: string;
  /** The same number again, of all sandboxes: the same one, and unchanged but for `settled` and `ended`. */
  version: number;
  name: string;
  slug: string;
  owner: Owner;
  ephemeral: boolean;
  /** Id of the sandbox that it is a fork of, which may be no more. */
  forkOf: string | null;
  /** Null for one that was made on the server itself. */
  spec: SandboxSpec | null;
  resolved: Resolved | null;
  status: SandboxStatus;
  /** Its CPUs stand still, and are to; its memory is kept. The status is that of one that runs. */
  paused: boolean;
  /** Nothing is under way, and nothing is left to do for what is desired. */
  settled: boolean;
  /** It is no more: this is how it was last. */
  ended: boolean;
  /** Why it is not what it was to be. */
  failure: { kind: ErrorKind; message: string } | null;
  /** RFC 3339. */
  createdAt: string;
  startedAt: string | null;
  stoppedAt: string | null;
};

export type Wanted = {
  spec: SandboxSpec;
  slug: string;
  owner: Owner;
  desired: Exclude<Desired, "removed" | "paused">;
  login?: RegistryLogin;
  /** Credentials of the server must not serve the pull. */
  anonymous?: boolean;
  /** Id of the snapshot whose disk it is to start from; its image is the spec's, and it is to run. */
  snapshot?: string;
};

export type ListQuery = Scope & {
  labels: Record<string, string>;
  limit: number;
  after?: Position;
  /** Does the search, which may take its time, for whoever counts that. Default: nobody does. */
  charged?: Charged;
};
export type Page = { items: Sandbox[]; more: boolean };

/** What is promised to running sandboxes, and how many there are. */
export type Usage = {
  /** All, running or not. */
  total: number;
  running: number;
  /** Of those that run. */
  paused: number;
  ephemeralRunning: number;
  memoryMib: number;
  cpus: number;
  volumes: number;
  /** GiB promised to volumes that have a capacity, and measured in the others; not rounded. */
  volumeGib: number;
  /** Whole, or being made. */
  snapshots: number;
  /** What those that are whole take on the disk. */
  snapshotBytes: number;
};

export const noUsage = (): Usage => ({
  total: 0,
  running: 0,
  paused: 0,
  ephemeralRunning: 0,
  memoryMib: 0,
  cpus: 0,
  volumes: 0,
  volumeGib: 0,
  snapshots: 0,
  snapshotBytes: 0,
});

/** Where a reader stands; only the backend that gave it knows what it means. */
export type LogCursor = { generation: bigint; offset: bigint };
export type LogEntry = { source: string; ts: string; text: string; cursor: LogCursor };
export type LogQuery = {
  sources: Set<string>;
  after?: LogCursor;
  signal: AbortSignal;
  /** Whose stream it is: what is read of logs, owners read in turns. */
  reader?: string;
};

/**
 * Sandboxes. A request says what is desired, and waits or not: what is under way goes on whoever waits. All methods
 * throw a {@link ServiceError} for what was to be foreseen, and nothing else. What was answered is there after a
 * restart. Methods that take an id alone ask nobody whose it is: the id comes from `get` with the scope.
 *
 * test/unit/gateway/backend-contract.ts tries all of this on each implementation.
 */
export interface SandboxBackend {
  /**
   * Takes the name and, for `running`, the room, or neither; then begins the boot. On disk when it resolves. Where the
   * first boot fails and nobody was told of the sandbox, it is removed, with the `failure` in its last states.
   * @throws ServiceError invalidSpec, volumeNotFound, snapshotNotFound, nameTaken, noCapacity, diskFull, unavailable
   */
  create(wanted: Wanted): Promise<Sandbox>;
  /**
   * The client has been told of it: from here on it is its own, whatever becomes of the boot. No error where there is
   * none of that id.
   */
  answered(id: string): Promise<void>;
  /** As it is now, at most a second ago; by a name, one that is no more answers only where no other bears it. */
  get(reference: Reference, scope: Scope): Promise<Sandbox | undefined>;
  /** With what the backend made of the spec, for whoever reconnects. */
  resolve(id: string): Promise<Sandbox | undefined>;
  /** In the order of {@link Position}. What is there from the first page to the last is on exactly one of them. */
  list(query: ListQuery): Promise<Page>;
  /**
   * Idempotent, and the last one counts. `removed` is on disk when it resolves, cancels what is under way, and frees the
   * name at once; what is left of it goes behind the answer, and from then on every method throws sandboxNotFound.
   * `paused` is for one that runs, and `running` resumes one that is paused. Where that fails it is as it was, with the
   * `failure`. One that is paused keeps its room.
   * @throws ServiceError sandboxNotFound; for `running`: noCapacity, diskFull, unavailable; for `paused`: conflict where it
   *   neither runs nor is paused, unsupported, unavailable
   */
  want(id: string, desired: Desired): Promise<Sandbox>;
  /**
   * Wants it `running` only where it is up: what does not run is not started.
   * @throws ServiceError sandboxNotFound, unavailable; conflict where it neither runs nor is paused
   */
  resume(id: string): Promise<Sandbox>;
  /**
   * Takes the names and the room for all forks of a sandbox that is up, or of none; then begins. On disk when it resolves.
   * Each is what the source is at one moment, with its memory and its disk, under its owner, network rules and limits;
   * its lifetimes begin anew. Where one can't be made they are all removed, with the `failure` in their last states.
   * @throws ServiceError sandboxNotFound, nameTaken, noCapacity, diskFull, unavailable, unsupported; conflict where the
   *   source is not up, or has what is not to be inherited or can't be
   */
  fork(id: string, wanted: WantedForks): Promise<Sandbox[]>;
  /**
   * The first state that holds, or the last one when the signal aborts (it does not reject) or the sandbox ends. Its end
   * cancels nothing. @throws ServiceError sandboxNotFound
   */
  until(id: string, holds: (sandbox: Sandbox) => boolean, signal: AbortSignal): Promise<Sandbox>;
  /**
   * What {@link modify} would do, and whether it could be applied; nothing is done. No secret's value is in it.
   * @throws ServiceError as {@link modify} does, but for what only the plan itself tells of
   */
  planModification(id: string, change: PlannedModification): Promise<ModificationPlan>;
  /**
   * Changes the secrets of a sandbox that is made: all of it, or nothing where it throws. Whether the sandbox runs is
   * left as it is. No secret's value is in what this resolves with, or in an error.
   * @throws ServiceError sandboxNotFound; modificationUnsupported for what the backend never does, modificationInProgress
   *   while the sandbox starts, stops or is changed, modificationRefused for what its state does not allow; conflict or
   *   timeout where the server paused it, and it can't be resumed
   */
  modify(id: string, change: Modification): Promise<ModificationPlan>;
  /**
   * A connection to the agent in the guest; one that starts is waited for. Each side ends by itself: the reading one
   * when the guest does. Whoever asked destroys it.
   * @throws ServiceError sandboxNotFound; conflict where it does not run, or not before the signal aborts, or is paused;
   *   timeout where the server paused it, and it is not resumed before the signal aborts
   */
  openAgent(id: string, signal: AbortSignal): Promise<Duplex>;
  /**
   * The log after a cursor, or from its beginning: each entry once, in order, with the cursor after which the rest goes
   * on. It ends when the sandbox does not run and all is read, or when the signal aborts; an empty list now and then
   * while nothing comes. Nothing for an unknown id.
   */
  logs(id: string, query: LogQuery): AsyncIterable<LogEntry[]>;
}

/** A volume as it stands. */
export type Volume = {
  id: string;
  /** Null for the shared one. */
  name: string | null;
  owner: Owner;
  labels: Record<string, string>;
  usedBytes: number | null;
  capacityBytes: number | null;
  createdAt: string;
  updatedAt: string;
};

export type WantedVolume = {
  name: string;
  labels: Record<string, string>;
  owner: Owner;
  /** A disk of that size instead of a folder that grows. */
  capacityGib?: number;
};

/** Volumes. What is another owner's is not there: every refusal is volumeNotFound. */
export interface VolumeBackend {
  /**
   * The named ones, in the order of {@link Position}.
   * @param charged reads what servers answer. Default: nobody counts that
   */
  list(scope: Scope, charged?: Charged): Promise<Volume[]>;
  /** The one that all keys share. */
  shared(): Promise<Volume>;
  /** On disk when it resolves. @throws ServiceError nameTaken, noCapacity, diskFull, unavailable */
  create(wanted: WantedVolume): Promise<Volume>;
  /**
   * Its name is free when this resolves; its files go behind the answer.
   * @throws ServiceError conflict while a sandbox mounts it, running or not, and for the shared one
   */
  remove(id: string, scope: Scope): Promise<void>;
  /** @throws ServiceError unsupported for a disk, whose files only a guest sees */
  files(id: string, scope: Scope, caller: FileCaller): Promise<VolumeFiles>;
}

/** What can be the matter with the server, by what was looked at. */
export type Check = { ok: boolean; reason?: string };

/** What runs sandboxes. Everything above it (HTTP, keys, limits of requests) knows this alone. */
export interface Backend {
  readonly sandboxes: SandboxBackend;
  readonly volumes: VolumeBackend;
  readonly snapshots: SnapshotBackend;
  limits(): Promise<Limits>;
  /** What is in use: of one owner, or of all. */
  usage(owner?: Owner): Promise<Usage>;
  /** How many sandboxes there are of each status, of those that a list holds. What is being removed still uses its room. */
  statuses(): Promise<Record<SandboxStatus, number>>;
  /** Of the runtime, for example "0.7.11". */
  version(): Promise<string>;
  /** Whether it can serve, and what of it holds. */
  readiness(): Promise<{ ready: boolean; checks: Record<string, Check> }>;
  /** Goes on with what the last process was asked for; served meanwhile. Never rejects. */
  resume(): Promise<void>;
  /**
   * From now on `create` (of snapshots, too) and `want` for `running` throw unavailable. Stops what runs, to be resumed, and
   * resolves when that is done, at the latest at that time (milliseconds since the epoch).
   */
  drain(deadline: number): Promise<void>;
  close(): Promise<void>;
}
