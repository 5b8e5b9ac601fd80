/**
 * An answer that many wait for: one question serves all who ask meanwhile, and nobody gets an answer to a
 * question that was asked before what he knows.
 */
export class SharedRead {
  private askedAt = Number.NEGATIVE_INFINITY;
  private readAt = Number.NEGATIVE_INFINITY;
  private invalidAt = Number.NEGATIVE_INFINITY;
  private reading: Promise<void> | undefined;
  private following: Promise<void> | undefined;
  /** Milliseconds that the last answer took. */
  tookMs = 0;

  /** @param read asks, and takes the answer in; it is told when it was asked, by performance.now() */
  constructor(private readonly read: (askedAt: number) => Promise<void>) {}

  /** Resolves when an answer is in whose question was asked no longer ago than that, in milliseconds. */
  refresh(maxAgeMs: number): Promise<void> {
    const since = Math.max(performance.now() - maxAgeMs, this.invalidAt);
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

  /** Something has happened that no answer to an earlier question tells of. */
  invalidate(): void {
    this.invalidAt = performance.now();
  }

  /** Milliseconds since what is known was asked for, or since a later time by performance.now(). */
  ageMs = (since = Number.NEGATIVE_INFINITY): number =>
    performance.now() -
    Math.max(since, this.readAt >= this.invalidAt ? this.readAt : Number.NEGATIVE_INFINITY);

  private start(): Promise<void> {
    this.askedAt = performance.now();
    this.reading = this.ask(this.askedAt).finally(() => {
      this.reading = undefined;
    });
    return this.reading;
  }

  private follow(): Promise<void> {
    this.following = undefined;
    return this.reading ?? this.start();
  }

  private async ask(askedAt: number): Promise<void> {
    await this.read(askedAt);
    this.readAt = askedAt;
    this.tookMs = performance.now() - askedAt;
  }
}
