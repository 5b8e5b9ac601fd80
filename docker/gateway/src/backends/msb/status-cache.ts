import { SharedRead } from "../../shared-read";
import type { Seen } from "./reconciler";

const MAX_AGE_MS = 1_000;
/** On a slow machine a list is asked for less often: it is to take a quarter of the time at most. */
const SHARE = 4;

/** What msb says of all sandboxes, at most a second old; each list is handed on once, with the time of its question. */
export class StatusCache {
  private readonly read: SharedRead;

  constructor(list: () => Promise<Seen[]>, onList: (rows: Seen[], askedAt: number) => void) {
    this.read = new SharedRead(async (askedAt) => onList(await list(), askedAt));
  }

  /** Resolves when a list has been handed on that was asked for no longer ago than that, in milliseconds. */
  refresh = (maxAgeMs = this.maxAgeMs()): Promise<void> => this.read.refresh(maxAgeMs);

  /** Something has happened that the last list does not tell of. */
  invalidate = (): void => this.read.invalidate();

  /** Whether what was done or seen at a time, by performance.now(), needs no new list. */
  isFresh = (at: number): boolean => this.read.ageMs(at) <= this.maxAgeMs();

  private maxAgeMs = (): number => Math.max(MAX_AGE_MS, SHARE * this.read.tookMs);
}
