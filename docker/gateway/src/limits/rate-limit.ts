import { ServiceError } from "../errors";

/** A bucket per key: so many requests a second, bursts of twice as many. */
export class RateLimit {
  private readonly buckets = new Map<string, { tokens: number; at: number }>();

  /** @param perSecond for keys without a limit of their own */
  constructor(private readonly perSecond: number) {}

  /** Takes one request from a key's bucket. @throws ServiceError 429 */
  take(key: string, perSecond = this.perSecond, now = performance.now()): void {
    const burst = perSecond * 2;
    const bucket = this.buckets.get(key) ?? { tokens: burst, at: now };
    bucket.tokens = Math.min(burst, bucket.tokens + ((now - bucket.at) / 1000) * perSecond);
    bucket.at = now;
    this.buckets.set(key, bucket);
    if (bucket.tokens < 1)
      throw new ServiceError("rateLimited", `more than ${perSecond} requests per second with one key`, {
        retryAfterSeconds: 1,
      });
    bucket.tokens -= 1;
  }
}

/** Long-lived connections (pipes, log streams) of each key. */
export class ConnectionLimit {
  private readonly open = new Map<string, number>();

  /** @param limit for keys without a limit of their own */
  constructor(private readonly limit: number) {}

  /** Takes one connection; the answer gives it back. @throws ServiceError 429 */
  take(key: string, limit = this.limit): () => void {
    const count = this.open.get(key) ?? 0;
    if (count >= limit)
      throw new ServiceError("rateLimited", `more than ${limit} open connections with one key`);
    this.open.set(key, count + 1);
    let given = false;
    return () => {
      if (given) return;
      given = true;
      const left = (this.open.get(key) ?? 1) - 1;
      if (left > 0) this.open.set(key, left);
      else this.open.delete(key);
    };
  }
}
