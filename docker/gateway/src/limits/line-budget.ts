import { type Rate, TokenBuckets } from "./token-buckets";

const SUMMARY_MS = 60_000;

export type LineBudgetOptions = {
  rate: Rate;
  /** What gets a line each, in the plural, for the sentence that sums up. */
  what: string;
  /** Called for each line that is left out. */
  leftOut?: () => void;
};

/**
 * Lines of the log for each owner: so many, and then a sum of the others once a minute. The log is rotated by its size,
 * so whoever fills it removes what others did from it.
 */
export class LineBudget {
  private readonly buckets = new TokenBuckets();
  private readonly leftOut = new Map<string, number>();
  private readonly timer = setInterval(() => this.sum(), SUMMARY_MS).unref();

  constructor(
    private readonly log: { warn: (fields: object, message: string) => void },
    private readonly options: LineBudgetOptions,
  ) {}

  /** Whether an owner, "" for nobody, may write one more line now; it is counted if not. */
  take(owner: string): boolean {
    if (this.buckets.take(owner, this.options.rate) === 0) return true;
    this.leftOut.set(owner, (this.leftOut.get(owner) ?? 0) + 1);
    this.options.leftOut?.();
    return false;
  }

  /** Writes what is not told yet. */
  close(): void {
    clearInterval(this.timer);
    this.sum();
  }

  private sum(): void {
    for (const [owner, leftOut] of this.leftOut)
      this.log.warn(
        { key: owner || undefined, leftOut },
        `${this.options.what} that got no line of their own`,
      );
    this.leftOut.clear();
  }
}
