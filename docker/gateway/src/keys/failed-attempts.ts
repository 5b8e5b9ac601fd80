import { networkOf } from "../limits/networks";
import { TokenBuckets } from "../limits/token-buckets";

/** Failures that an address may have in a row, and one more every five seconds. */
const RATE = { burst: 20, perSecond: 1 / 5 };
const MOST_ADDRESSES = 10_000;

/**
 * Failed attempts of each address. It slows nobody who has a key: the key is looked at first, and only a request
 * without a valid one is counted. Agents behind one address (NAT, Docker's own proxy) would otherwise lock each
 * other out, and guessing at 256 random bits needs no brake: what is kept small is the noise, in logs and in work.
 */
export class FailedAttempts {
  private readonly buckets = new TokenBuckets(MOST_ADDRESSES);

  /** Notes a failure. Returns the whole seconds that the address is to wait: 0 while it has failures left. */
  note(address: string, now = performance.now()): number {
    return Math.ceil(this.buckets.take(networkOf(address), RATE, now));
  }

  get size(): number {
    return this.buckets.size;
  }
}
