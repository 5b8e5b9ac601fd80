/** So many at once, and so many more a second. */
export type Rate = { burst: number; perSecond: number };

/** More than any key file holds. */
const MOST_KEYS = 100_000;

/**
 * Token buckets, one a name. It bounds its own memory too: of too many names the one heard of longest ago is
 * forgotten, so names may be what strangers choose.
 */
export class TokenBuckets {
  private readonly buckets = new Map<string, { left: number; at: number }>();

  /** @param most names that are remembered. Default: more than there are keys */
  constructor(private readonly most = MOST_KEYS) {}

  /**
   * Takes one token.
   * @param now milliseconds of a clock that is never set
   * @returns the seconds until there is one: 0 if it was taken
   */
  take(name: string, { burst, perSecond }: Rate, now = performance.now()): number {
    const { left, at } = this.buckets.get(name) ?? { left: burst, at: now };
    const filled = Math.min(burst, left + ((now - at) / 1000) * perSecond);
    const taken = filled >= 1;
    this.buckets.delete(name);
    this.buckets.set(name, { left: taken ? filled - 1 : filled, at: now });
    if (this.buckets.size > this.most) this.forgetOldest();
    return taken ? 0 : (1 - filled) / perSecond;
  }

  /** Takes so many as there may not be: none is left then until the debt is paid. */
  spend(name: string, tokens: number, { burst, perSecond }: Rate, now = performance.now()): void {
    const { left, at } = this.buckets.get(name) ?? { left: burst, at: now };
    const filled = Math.min(burst, left + ((now - at) / 1000) * perSecond);
    this.buckets.delete(name);
    this.buckets.set(name, { left: filled - tokens, at: now });
    if (this.buckets.size > this.most) this.forgetOldest();
  }

  /** Seconds until the debt of a name is paid: 0 for one without. */
  owed(name: string, { perSecond }: Pick<Rate, "perSecond">, now = performance.now()): number {
    const { left, at } = this.buckets.get(name) ?? { left: 0, at: now };
    return Math.max(0, -left / perSecond - (now - at) / 1000);
  }

  get size(): number {
    return this.buckets.size;
  }

  private forgetOldest(): void {
    for (const oldest of this.buckets.keys()) return void this.buckets.delete(oldest);
  }
}
