import { BlockList, isIP } from "node:net";
import * as z from "zod";
import { choice, settingMeta } from "./fields";
import { isPort } from "./values";

/** Without a name of one label, which would be a whole top-level domain. */
const DOMAIN =
  /^(\*\.)?(?=.{3,253}$)([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9])?\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])?$/i;
/** Leads to the server itself, where no guest has anything to do. */
const OWN = /^(127|0)\.|^::1?$/;

/** What an entry opens, in the words of the server: docker/gateway/src/backends/msb/egress.ts reads them. */
export interface Opening {
  destination: { cidr: string } | { domain: string } | { domain_suffix: string };
  /** Empty for all. */
  ports: { start: number; end: number }[];
}

/** Reads `10.1.2.0/24`, `[fd00::5]:5432`, `api.example.com:443` or `*.example.com`; undefined for anything else. */
export function parseOpening(entry: string): Opening | undefined {
  const [host, port] = splitPort(entry);
  if (port !== undefined && !(/^\d+$/.test(port) && isPort(Number(port)))) return undefined;
  const ports = port === undefined ? [] : [{ start: Number(port), end: Number(port) }];
  const cidr = asRange(host);
  if (cidr !== undefined) return { destination: { cidr }, ports };
  if (!DOMAIN.test(host)) return undefined;
  const name = host.toLowerCase();
  return {
    destination: name.startsWith("*.") ? { domain_suffix: name.slice(2) } : { domain: name },
    ports,
  };
}

function splitPort(entry: string): [host: string, port: string | undefined] {
  const [, bracketed, port] = /^\[([^\]]*)\](?::(.*))?$/.exec(entry) ?? [];
  if (bracketed !== undefined) return [bracketed, port];
  const [host = "", ...rest] = entry.split(":");
  return rest.length > 1 ? [entry, undefined] : [host, rest[0]];
}

function asRange(text: string): string | undefined {
  const [address = "", bits, more] = text.split("/");
  const family = isIP(address);
  if (family === 0 || more !== undefined || OWN.test(address)) return undefined;
  const most = family === 4 ? 32 : 128;
  if (bits !== undefined && !(/^\d{1,3}$/.test(bits) && Number(bits) <= most)) return undefined;
  return `${address}/${bits ?? most}`;
}

export const egress = choice(["none", "public", "all"], "public", {
  description:
    "Network access of sandboxes: none, the public internet, or private networks too (`all`); never the server itself.",
  example: "none",
});

export const egressAllow = z
  .array(z.string().refine((entry) => parseOpening(entry) !== undefined))
  .max(256)
  .prefault([])
  .register(settingMeta, {
    description:
      "Further destinations that sandboxes may reach: addresses, ranges (CIDR) or names, each with or without a port.",
    accepts: 'a list of addresses, ranges and names, like ["10.1.2.0/24","api.example.com:443"]',
    example: '["10.1.2.0/24"]',
  });

/** What is no part of the internet, by IP version. */
export const PRIVATE_RANGES = {
  ipv4: ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16"],
  ipv6: ["fc00::/7", "fe80::/10", "::1/128"],
} as const;

/** What is closed with the private networks, and so needs no mention. */
const privateRanges = new BlockList();
for (const version of ["ipv4", "ipv6"] as const)
  for (const range of PRIVATE_RANGES[version]) {
    const [address = "", bits] = range.split("/");
    privateRanges.addSubnet(address, Number(bits), version);
  }

/** What is closed for an address of the host. One of IPv6 changes by the day, and the rest of its network is near too. */
function hostRange(address: string): string {
  if (isIP(address) === 4) return `${address}/32`;
  const prefix = address.split(":").slice(0, 4).join(":");
  return `${new URL(`http://[${prefix}::]`).hostname.slice(1, -1)}/64`;
}

/** The server's variable. */
export function egressVariable(settings: { egress: z.output<typeof egress>; egressAllow: string[] }): string {
  return JSON.stringify({ level: settings.egress, grants: settings.egressAllow.map(parseOpening) });
}

/** What is closed for the host's addresses: its public ones are no part of the internet. */
export function hostRanges(addresses: string[]): string[] {
  const ranges = addresses
    .filter((address) => !privateRanges.check(address, isIP(address) === 6 ? "ipv6" : "ipv4"))
    .map(hostRange);
  return [...new Set(ranges)].sort();
}
