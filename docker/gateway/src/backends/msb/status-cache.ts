import type { Seen } from "./reconciler";

const MAX_AGE_MS = 1_000;
/** On a slow machine a list is asked for less often: it is to take a quarter of the time at most. */
const SHARE = 4;

/**
 * What msb says of all sandboxes, at most a second old. One `msb ls` serves every request that waits for it; each
 * list is handed on once, with the time at which it was asked for.
 */
export class StatusCache {
  private askedAt = Number.NEGATIVE_INFINITY;
  private readAt = Number.NEGATIVE_INFINITY;
  private tookMs = 0;
  private reading: Promise<void> | undefined;
  private following: Promise<void> | undefined;

  constructor(
    private readonly list: () => Promise<Seen[]>,
    private readonly onList: (rows: Seen[], askedAt: number) => void,
  ) {}

  /** Resolves when a list has been handed on that was asked for no longer ago than that, in milliseconds. */
  refresh(maxAgeMs = this.maxAgeMs()): Promise<void> {
    const since = performance.now() - maxAgeMs;
    if (this.readAt >= since) return Promise.resolve();
    if (!this.reading) return this.start();
    if (this.askedAt >= since) return this.reading;
    // What is under way was asked too early: one more question serves everybody who waits by then.
    this.following ??= this.reading.then(
      () => this.follow(),
      () => this.follow(),
    );
    return this.following;
  }

  /** Something has happened that the last list does not tell of. */
  invalidate(): void {
    this.readAt = Number.NEGATIVE_INFINITY;
  }

  /** Whether what was done or seen at a time, by performance.now(), needs no new list. */
  isFresh = (at: number): boolean => performance.now() - Math.max(at, this.readAt) <= this.maxAgeMs();

  private start(): Promise<void> {
    this.askedAt = performance.now();
    this.reading = this.read(this.askedAt).finally(() => {
      this.reading = undefined;
    });
    return this.reading;
  }

  private follow(): Promise<void> {
    this.following = undefined;
    return this.reading ?? this.start();
  }

  private maxAgeMs = (): number => Math.max(MAX_AGE_MS, SHARE * this.tookMs);

  private async read(askedAt: number): Promise<void> {
    const rows = await this.list();
    this.readAt = askedAt;
    this.tookMs = performance.now() - askedAt;
    this.onList(rows, askedAt);
  }
}
