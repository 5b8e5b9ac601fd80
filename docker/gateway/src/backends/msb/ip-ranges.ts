import { BlockList, type IPVersion, isIPv6 } from "node:net";

/** The ranges of msb's groups, but for those that have none of their own. */
export const GROUP_RANGES: Record<string, string[]> = {
  loopback: ["127.0.0.0/8", "::1/128"],
  private: ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7"],
  // Metadata is not link-local to msb.
  link_local: [...rangeWithout("169.254.0.0/16", [169, 254, 169, 254]), "fe80::/10"],
  metadata: ["169.254.169.254/32"],
  multicast: ["224.0.0.0/4", "ff00::/8"],
};

/** The addresses that two ranges have in common: ranges lie in each other or apart. */
export function intersection(one: string, other: string): string | undefined {
  if (isWithin(one, other)) return one;
  return isWithin(other, one) ? other : undefined;
}

/** Whether all addresses of a range are in another. */
export function isWithin(inner: string, outer: string): boolean {
  const [address = "", bits] = inner.split("/");
  const [start = "", outerBits] = outer.split("/");
  const [family, outerFamily] = [familyOf(address), familyOf(start)];
  if (family !== outerFamily || Number(bits) < Number(outerBits)) return false;
  const range = new BlockList();
  range.addSubnet(start, Number(outerBits), family);
  return range.check(address, family);
}

const familyOf = (address: string): IPVersion => (isIPv6(address) ? "ipv6" : "ipv4");

/** The ranges that make up a range of IPv4 but for one address in it: the other half, of what is left, and so on. */
function rangeWithout(range: string, address: [number, number, number, number]): string[] {
  const whole = Buffer.from(address).readUInt32BE();
  const halves: string[] = [];
  for (let bits = Number(range.split("/")[1]) + 1; bits <= 32; bits++) {
    const size = 2 ** (32 - bits);
    const start = Buffer.alloc(4);
    start.writeUInt32BE(((Math.floor(whole / size) ^ 1) >>> 0) * size);
    halves.push(`${[...start].join(".")}/${bits}`);
  }
  return halves;
}
