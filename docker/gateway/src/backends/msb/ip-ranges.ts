import ipaddr, { type IPv4, type IPv6 } from "ipaddr.js";

/** The ranges of msb's groups, but for those that have none of their own. */
export const GROUP_RANGES: Record<string, string[]> = {
  loopback: ["127.0.0.0/8", "::1/128"],
  private: ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7"],
  // Metadata is not link-local to msb.
  link_local: [...rangeWithout("169.254.0.0/16", "169.254.169.254"), "fe80::/10"],
  metadata: ["169.254.169.254/32"],
  multicast: ["224.0.0.0/4", "ff00::/8"],
};

/** What msb counts as public and is not: special-purpose ranges, and translators that lead to any IPv4 address. */
export const RESERVED_RANGES = ["192.0.0.0/24", "198.18.0.0/15", "240.0.0.0/4", "64:ff9b::/96"];
/** Translators whose ranges hold addresses at places of their operators' choice, or that nobody runs any more. */
export const TRANSLATED_RANGES = ["64:ff9b:1::/48", "2002::/16"];

/** A range of IPv4 as the well-known NAT64 prefix shows it. @example nat64("10.0.0.0/8") // "64:ff9b::a00:0/104" */
export function nat64(range: string): string {
  const [address, bits] = ipaddr.IPv4.parseCIDR(range);
  const bytes = [...ipaddr.IPv6.parse("64:ff9b::").toByteArray().slice(0, 12), ...address.toByteArray()];
  return `${ipaddr.fromByteArray(bytes)}/${96 + bits}`;
}

/** The addresses that two ranges have in common: ranges lie in each other or apart. */
export function intersection(one: string, other: string): string | undefined {
  if (isWithin(one, other)) return one;
  return isWithin(other, one) ? other : undefined;
}

/** Whether all addresses of a range are in another. */
export function isWithin(inner: string, outer: string): boolean {
  const [[address, bits], [start, outerBits]] = [parsed(inner), parsed(outer)];
  return address.kind() === start.kind() && bits >= outerBits && address.match(start, outerBits);
}

type Range = [address: IPv4 | IPv6, bits: number];
const known = new Map<string, Range>();

/** A policy's ranges are each compared with many. */
function parsed(range: string): Range {
  const found = known.get(range);
  if (found) return found;
  if (known.size >= 2048) known.clear();
  const made = ipaddr.parseCIDR(range);
  known.set(range, made);
  return made;
}

/** The ranges that make up a range of IPv4 but for one address in it: the other half, of what is left, and so on. */
function rangeWithout(range: string, address: string): string[] {
  const [, bits] = ipaddr.IPv4.parseCIDR(range);
  return Array.from({ length: 32 - bits }, (_each, index) => {
    const length = bits + index + 1;
    const half = ipaddr.IPv4.parse(address).toByteArray();
    half[(length - 1) >> 3] = (half[(length - 1) >> 3] ?? 0) ^ (0x80 >> ((length - 1) & 7));
    return `${ipaddr.IPv4.networkAddressFromCIDR(`${half.join(".")}/${length}`)}/${length}`;
  });
}
