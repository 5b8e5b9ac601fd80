import { ServiceError } from "../errors";
import { TokenBuckets } from "./token-buckets";

/** Requests a second of each key; bursts of twice as many pass. */
export class RateLimit {
  private readonly buckets = new TokenBuckets();

  /** @param perSecond for keys without a limit of their own */
  constructor(private readonly perSecond: number) {}

  /** Counts one request of a key. @throws ServiceError 429 */
  take(key: string, perSecond = this.perSecond): void {
    const wait = this.buckets.take(key, { burst: perSecond * 2, perSecond });
    if (wait > 0)
      throw new ServiceError("rateLimited", `more than ${perSecond} requests per second with one key`, {
        retryAfterSeconds: Math.ceil(wait),
      });
  }
}

/** Connections that are held open for long, counted for each of those who share a limit. */
export class ConnectionLimit {
  private readonly open = new Map<string, number>();

  /**
   * @param limit for those without a limit of their own
   * @param whose what the sentence of a refusal ends with
   */
  constructor(
    private readonly limit: number,
    private readonly whose = "with one key",
  ) {}

  /** Takes one connection; the function returned gives it back. @throws ServiceError 429 */
  take(name: string, limit = this.limit): () => void {
    const count = this.open.get(name) ?? 0;
    if (count >= limit)
      throw new ServiceError("rateLimited", `more than ${limit} open connections ${this.whose}`);
    this.open.set(name, count + 1);
    let given = false;
    return () => {
      if (given) return;
      given = true;
      const left = (this.open.get(name) ?? 1) - 1;
      if (left > 0) this.open.set(name, left);
      else this.open.delete(name);
    };
  }

  /** All that are open. */
  get total(): number {
    let total = 0;
    for (const count of this.open.values()) total += count;
    return total;
  }
}
