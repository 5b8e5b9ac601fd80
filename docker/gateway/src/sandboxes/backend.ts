import type { Duplex } from "node:stream";
import type { ErrorKind } from "../errors";
import type { Limits } from "../limits/capacity";
import type { SandboxSpec, SandboxStatus } from "./spec";
import type { Desired } from "./states";
import type { VolumeFiles } from "./volume-files";

/** Id of the key that something belongs to; null for what was made on the server itself. */
export type Owner = string | null;

/** Whose things are meant; without an owner: everybody's. */
export type Scope = { owner?: Owner };

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
  name: string;
  slug: string;
  owner: Owner;
  ephemeral: boolean;
  /** Null for one that was made on the server itself. */
  spec: SandboxSpec | null;
  resolved: Resolved | null;
  status: SandboxStatus;
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
  desired: Exclude<Desired, "removed">;
  login?: RegistryLogin;
  /** Credentials of the server must not serve the pull. */
  anonymous?: boolean;
};

export type ListQuery = Scope & {
  labels: Record<string, string>;
  limit: number;
  after?: Position;
};
/** A place in the list: by time of creation, then id. */
export type Position = { createdAt: string; id: string };
export type Page = { items: Sandbox[]; more: boolean };

/** What is promised to running sandboxes, and how many there are. */
export type Usage = {
  /** All, running or not. */
  total: number;
  running: number;
  ephemeralRunning: number;
  memoryMib: number;
  cpus: number;
  volumes: number;
};

export type LogSource = "stdout" | "stderr" | "output" | "system";
/** Where a reader stands; only the backend that gave it knows what it means. */
export type LogCursor = { generation: bigint; offset: bigint };
export type LogEntry = { source: string; ts: string; text: string; cursor: LogCursor };
export type LogQuery = { sources: Set<string>; after?: LogCursor; signal: AbortSignal };

/**
 * Sandboxes. A request says what is desired, and waits or not: what is under way goes on whoever waits. All methods
 * throw a {@link ServiceError} for what was to be foreseen.
 */
export interface SandboxBackend {
  /**
   * Takes the name, the room and, for `running`, begins the boot. On disk when it resolves.
   * @throws ServiceError invalidSpec, nameTaken, noCapacity, diskFull, unavailable
   */
  create(wanted: Wanted): Promise<Sandbox>;
  /** The client has been told of it: from here on it is its own, whatever becomes of the boot. */
  answered(id: string): Promise<void>;
  get(reference: Reference, scope: Scope): Promise<Sandbox | undefined>;
  /** With what the backend made of the spec, for whoever reconnects. */
  resolve(id: string): Promise<Sandbox | undefined>;
  list(query: ListQuery): Promise<Page>;
  /** Idempotent; on disk when it resolves, for `removed`. @throws ServiceError sandboxNotFound, noCapacity, conflict, unavailable */
  want(id: string, desired: Desired): Promise<Sandbox>;
  /** The first state that holds, or the last one when the signal aborts or the sandbox ends. Cancels nothing. */
  until(id: string, holds: (sandbox: Sandbox) => boolean, signal: AbortSignal): Promise<Sandbox>;
  /** A connection to the agent in the guest. @throws ServiceError conflict where it does not run */
  openAgent(id: string, signal: AbortSignal): Promise<Duplex>;
  /** The log from a cursor on, until the sandbox ends or the signal aborts; an empty list now and then while nothing comes. */
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
  /** The named ones. */
  list(scope: Scope): Promise<Volume[]>;
  /** The one that all keys share. */
  shared(): Promise<Volume>;
  /** On disk when it resolves. @throws ServiceError nameTaken, noCapacity, diskFull */
  create(wanted: WantedVolume): Promise<Volume>;
  /** Its name is free when this resolves; its files go behind the answer. @throws ServiceError conflict while a sandbox mounts it */
  remove(id: string, scope: Scope): Promise<void>;
  /** @throws ServiceError unsupported for a disk, whose files only a guest sees */
  files(id: string, scope: Scope): Promise<VolumeFiles>;
}

/** What can be the matter with the server, by what was looked at. */
export type Check = { ok: boolean; reason?: string };

/** What runs sandboxes. Everything above it (HTTP, keys, limits of requests) knows this alone. */
export interface Backend {
  readonly sandboxes: SandboxBackend;
  readonly volumes: VolumeBackend;
  readonly limits: Limits;
  /** What is in use: of one owner, or of all. */
  usage(owner?: Owner): Usage;
  /** How many sandboxes there are of each status. */
  statuses(): Record<SandboxStatus, number>;
  /** Of the runtime, for example "0.7.11". */
  version(): Promise<string>;
  /** Whether it can serve, and what of it holds. */
  readiness(): Promise<{ ready: boolean; checks: Record<string, Check> }>;
  /** Goes on with what the last process was asked for; served meanwhile. Never rejects. */
  resume(): Promise<void>;
  /** Begins nothing any more, and stops what runs, to be resumed; at the latest at that time (milliseconds since the epoch). */
  drain(deadline: number): Promise<void>;
  close(): Promise<void>;
}
