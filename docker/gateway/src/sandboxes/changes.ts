import type { Backend, Sandbox, SandboxBackend, Scope, VolumeBackend } from "./backend";

/** What has become of a backend's sandboxes since a moment, or a part of it. */
export type Changes = {
  /** What there was before is not to be relied on: these are changes since nothing. */
  anew: boolean;
  /** As they are now; those that lists hold. */
  changed: Sandbox[];
  /** Ids of those that lists hold no longer. */
  removed: string[];
  /** The moment to ask with next. */
  moment: string;
  /** There are others already: the rest comes with the next question. */
  more: boolean;
};

/** What a copy of a backend's lists is kept by. */
export interface Mirrored {
  /**
   * @param since the `moment` of the last answer; undefined, or one that the backend knows nothing of: since nothing
   */
  changes(since?: string): Promise<Changes>;
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
  /** Whether something has the name, or is being made under it. */
  hasName(kind: NamedKind, name: string, scope: Scope): Promise<boolean>;
}
