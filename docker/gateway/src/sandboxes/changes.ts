import type { Backend, Charged, Sandbox, SandboxBackend, Scope, VolumeBackend } from "./backend";
import type { SandboxRow } from "./sandbox-row";

/** What has become of a backend's sandboxes since a moment, or a part of it. */
export type Changes = {
  /** What there was before is not to be relied on: these are changes since nothing. */
  anew: boolean;
  /** As they are now; those that lists hold. */
  changed: SandboxRow[];
  /** Ids of those that lists hold no longer. */
  removed: string[];
  /** The moment to ask with next. */
  moment: string;
  /** There are others already: the rest comes with the next question. */
  more: boolean;
};

/** Whole sandboxes, of the first ones of some that were asked for. */
export type Whole = {
  /** Those that lists hold, in the order in which they were asked for. */
  items: Sandbox[];
  /** How many were looked at: there was no room for the others. */
  looked: number;
};

/** What a copy of a backend's lists is kept by. */
export interface Mirrored {
  /**
   * @param since the `moment` of the last answer; undefined, or one that the backend knows nothing of: since nothing
   */
  changes(since?: string): Promise<Changes>;
  /**
   * What lists show of those in a copy. There is always room for one.
   * @param room characters of JSON that they may have together
   * @param charged reads the answer. Default: nobody counts that
   */
  whole(ids: readonly string[], room: number, charged?: Charged): Promise<Whole>;
  /**
   * Tells that something has changed, once for all changes since it told it last, and once at the beginning: from there
   * on nothing is missed. Ends when the signal aborts, or with the backend.
   */
  watchChanges(signal: AbortSignal): AsyncIterable<"changed">;
}

/** What has a name. */
export type NamedKind = "sandbox" | "volume" | "snapshot";

/** Volumes by what requests call them. */
export type VolumeReferences = { ids?: string[]; names?: string[] };

/** Which volumes there are of those that a request is about: one question, however many they are. */
export interface KnownVolumes {
  /** Those of the ids that are there, and those of the names that one has or is being made under. */
  known(references: VolumeReferences, scope: Scope): Promise<string[]>;
}

/** A backend that is one of several: copies of its lists can be kept, and it can be asked for names. */
export interface MirroredBackend extends Backend {
  readonly sandboxes: SandboxBackend & Mirrored;
  readonly volumes: VolumeBackend & KnownVolumes;
  /** Answers at once where there is somebody who answers. */
  ping(): Promise<void>;
  /** Whether something has the name, or is being made under it. */
  hasName(kind: NamedKind, name: string, scope: Scope): Promise<boolean>;
}
