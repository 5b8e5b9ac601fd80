import { isIPv6 } from "node:net";

/** Failures that an address may have in a row, and the seconds after which it may have one more. */
const BURST = 20;
const SECONDS_EACH = 5;
/** Addresses that are remembered; the one heard of longest ago is forgotten first. */
const MOST_ADDRESSES = 10_000;

/**
 * Failed attempts of each address. It slows nobody who has a key: the key is looked at first, and only a request
 * without a valid one is counted. Agents behind one address (NAT, Docker's own proxy) would otherwise lock each
 * other out, and guessing at 256 random bits needs no brake: what is kept small is the noise, in logs and in work.
 */
export class FailedAttempts {
  private readonly buckets = new Map<string, { left: number; at: number }>();

  /** Notes a failure. Returns the seconds that the address is to wait: 0 while it has failures left. */
  note(address: string, now = performance.now()): number {
    const network = networkOf(address);
    const { left, at } = this.buckets.get(network) ?? { left: BURST, at: now };
    const refilled = Math.min(BURST, left + (now - at) / 1000 / SECONDS_EACH);
    this.buckets.delete(network);
    this.buckets.set(network, { left: Math.max(0, refilled - 1), at: now });
    for (const oldest of this.buckets.keys()) {
      if (this.buckets.size <= MOST_ADDRESSES) break;
      this.buckets.delete(oldest);
    }
    return refilled >= 1 ? 0 : Math.ceil((1 - refilled) * SECONDS_EACH);
  }

  get size(): number {
    return this.buckets.size;
  }
}

/** Who counts as one: an IPv4 address, or the /64 that an IPv6 user has to himself. */
export function networkOf(address: string): string {
  const plain = address.replace(/^::ffff:(?=\d+\.)/i, "");
  if (!isIPv6(plain)) return plain;
  const [head = "", tail] = (plain.split("%")[0] ?? "").split("::");
  const groups = head.split(":").filter(Boolean);
  const after = (tail ?? "").split(":").filter(Boolean);
  const missing = tail === undefined ? 0 : 8 - groups.length - after.length;
  const all = [...groups, ...Array<string>(Math.max(0, missing)).fill("0"), ...after];
  return all
    .slice(0, 4)
    .map((group) => Number.parseInt(group, 16).toString(16))
    .join(":");
}
