import type { Sandbox } from "./backend";

/** A sandbox, and its number: the same number again means that it has not changed but for `settled` and `ended`. */
export type Versioned = { sandbox: Sandbox; version: number };

/** What has become of a backend's sandboxes since a moment, or a part of it. */
export type Changes = {
  /** What there was before is not to be relied on: these are changes since nothing. */
  anew: boolean;
  /** As they are now; those that lists hold. */
  changed: Versioned[];
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
}
