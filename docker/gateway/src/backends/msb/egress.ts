import { networkInterfaces } from "node:os";
import * as z from "zod";
import { invalidSpec } from "../../errors";
import { destination, type networkRule, portRange, type SandboxSpec } from "../../sandboxes/spec";
import { covers } from "./egress-names";
import { GROUP_RANGES, intersection, nat64, RESERVED_RANGES, TRANSLATED_RANGES } from "./ip-ranges";

/*
 * A client's rules, its first that matches counting, become rules for msb that can reach no more than the setting.
 * With `level: public` and a grant of 10.1.0.0/16, port 5432 (`egressAllow`), an example of each step:
 *
 *   neverReached   deny the server itself, whatever follows
 *   narrowed       the client's rules, as far as they are about what is granted:
 *                    allow any                      -> allow 10.1.0.0/16:5432
 *                    allow public                   -> allow 10.1.0.0/16:5432  (what it says of the internet)
 *                    allow 10.1.2.0/24              -> allow 10.1.2.0/24:5432  (meeting: the smaller of two ranges)
 *                    deny 10.0.0.0/8, ports 1-6000  -> deny 10.1.0.0/16:5432   (commonPorts: of 1-6000 and 5432)
 *                    allow 10.2.0.0/16              -> nothing: they don't meet
 *                    allow example.com              -> nothing: "unknown", since a name may be any address
 *                    deny example.com               -> deny example.com: closing is always right
 *                  and then the client's default for the grant
 *   forbidden      deny private networks, metadata and what else the level closes
 *   rules          the client's own, for what is left: the internet
 *
 * covers compares names: the suffix example.com covers example.com and a.example.com, the domain example.com itself.
 */

type Rule = z.output<typeof networkRule>;
export type Destination = Rule["destination"];
export type PortRange = z.output<typeof portRange>;

export const LEVELS = ["none", "public", "all"] as const;

export const grant = z.object({ destination, ports: z.array(portRange).default([]) });

/** What guests may reach at most, whatever a client asks for. */
export const egressPolicy = z.object({
  /** `public`: what is nobody's own network. `all`: private networks too, but not the server's own. */
  level: z.enum(LEVELS).default("public"),
  /** Opened beyond the level: what a client's policy says of the public internet it says of these. */
  grants: z.array(grant).max(256).default([]),
  /** Ranges that count as private: public addresses of the host. */
  hostRanges: z.array(z.string()).default([]),
});

/** The same with what else rules are made from, as records keep it. */
export const recordedEgress = egressPolicy.extend({
  /** The networks that the server was in, which no guest may reach; absent in records of older gateways. */
  ownNetworks: z.array(z.string()).optional(),
});
export type EgressPolicy = z.output<typeof recordedEgress>;

/** msb's own, for a client that sends none: the public internet, and names. */
const DEFAULT_POLICY: NonNullable<SandboxSpec["network"]["policy"]> = {
  default_egress: "deny",
  default_ingress: "allow",
  rules: [
    ...(["udp", "tcp"] as const).map((protocol) =>
      egressRule("allow", { group: "host" }, [{ start: 53, end: 53 }], [protocol]),
    ),
    egressRule("allow", { group: "public" }),
  ],
};

/** Where clouds tell a machine its credentials. */
const METADATA_IPV4 = ["168.63.129.16/32", "192.0.0.192/32", "100.100.100.200/32"];
const METADATA: Destination[] = [
  { group: "metadata" },
  { group: "link_local" },
  ...[...METADATA_IPV4, "fd00:ec2::254/128"].map((cidr) => ({ cidr })),
  ...TRANSLATED_RANGES.map((cidr) => ({ cidr })),
];

/** Rules of one sandbox beyond which a command line would get too long. */
const MAX_RULES = 2048;

/**
 * The policy for msb, whose first rule that matches counts: what no guest may reach; what is opened, as far as the
 * client's policy lets it; what the level forbids; and the client's own rules, which can't widen what is left.
 *
 * @returns undefined where the guest gets no network at all
 * @throws ServiceError 400 where that makes too many rules
 */
export function boundPolicy(
  { network }: SandboxSpec,
  limit: EgressPolicy,
  own: string[] = limit.ownNetworks ?? ownNetworks(),
): typeof DEFAULT_POLICY | undefined {
  const asked = network.policy ?? DEFAULT_POLICY;
  const { default_egress: fallback, default_ingress: ingress, rules } = asked;
  if (!network.enabled || (fallback === "deny" && ingress === "deny" && rules.length === 0)) return undefined;
  if (limit.level === "none" && limit.grants.length === 0) return undefined;
  const bound = [
    ...neverReached(own),
    ...limit.grants.flatMap((opened) => [
      ...rules.flatMap((rule) => narrowed(rule, opened)),
      egressRule(fallback, opened.destination, opened.ports),
    ]),
    ...forbidden(limit),
    ...rules,
  ];
  if (bound.length > MAX_RULES)
    throw invalidSpec(
      `network.policy: ${bound.length} rules with the server's own; ${MAX_RULES} is the most`,
    );
  return { ...asked, rules: bound };
}

/**
 * The server itself, and by way of a translator, which may be opened whole, it and the metadata too. Its names
 * service, on the gateway's port 53, is left to the client's rules.
 */
function neverReached(own: string[]): Rule[] {
  const others = [
    { start: 1, end: 52 },
    { start: 54, end: 65_535 },
  ];
  const translated = ["127.0.0.0/8", "169.254.0.0/16", ...METADATA_IPV4, ...own.filter(isIPv4Range)].map(
    nat64,
  );
  return [
    egressRule("deny", { group: "host" }, others, ["tcp", "udp"]),
    egressRule("deny", { group: "loopback" }),
    // Where a connection to the zero address ends: at home.
    ...["0.0.0.0/8", "::/128", ...own, ...translated].map((cidr) => egressRule("deny", { cidr })),
  ];
}

const isIPv4Range = (range: string) => !range.includes(":");

/** What a level closes, whatever a client asks for. */
export function forbidden({ level, hostRanges }: EgressPolicy): Rule[] {
  const deny = (to: Destination) => egressRule("deny", to);
  if (level === "none") return [deny("any")];
  const metadata = METADATA.map(deny);
  if (level === "all") return metadata;
  const groups = (["private", "multicast"] as const).map((group) => deny({ group }));
  return [...metadata, ...groups, ...[...RESERVED_RANGES, ...hostRanges].map((cidr) => deny({ cidr }))];
}

/** The part of a client's rule that is about what is opened; none where they don't meet. */
function narrowed(rule: Rule, opened: z.output<typeof grant>): Rule[] {
  if (rule.direction === "ingress") return [];
  const to = meeting(rule.destination, opened.destination);
  // A name and a range can't be compared here: such a rule may close what is opened, and can't open it.
  if (to === "unknown") return rule.action === "deny" ? [{ ...rule, direction: "egress" }] : [];
  const ports = commonPorts(rule.ports, opened.ports);
  if (ports === undefined) return [];
  return to.map((each) => ({ ...rule, direction: "egress", destination: each, ports }));
}

function meeting(asked: Destination, opened: Destination): Destination[] | "unknown" {
  if (asked === "any" || opened === "any") return [asked === "any" ? opened : asked];
  if ("group" in asked && asked.group === "public") return [opened];
  if ("cidr" in opened) {
    if ("cidr" in asked) return cidrs(intersection(asked.cidr, opened.cidr));
    if ("group" in asked)
      return (GROUP_RANGES[asked.group] ?? []).flatMap((range) => cidrs(intersection(range, opened.cidr)));
    return "unknown";
  }
  if ("cidr" in asked || "group" in asked || "group" in opened) return "unknown";
  if (covers(asked, opened)) return [opened];
  return covers(opened, asked) ? [asked] : [];
}

const cidrs = (cidr: string | undefined): Destination[] => (cidr === undefined ? [] : [{ cidr }]);

/** Undefined for none in common; an empty list stands for all ports. */
export function commonPorts(one: PortRange[], other: PortRange[]): PortRange[] | undefined {
  if (one.length === 0) return other;
  if (other.length === 0) return one;
  const common = one.flatMap((a) =>
    other.map((b) => ({ start: Math.max(a.start, b.start), end: Math.min(a.end, b.end) })),
  );
  const found = common.filter(({ start, end }) => start <= end);
  return found.length > 0 ? found : undefined;
}

function egressRule(
  action: Rule["action"],
  to: Destination,
  ports: PortRange[] = [],
  protocols: Rule["protocols"] = [],
): Rule {
  return { direction: "egress", destination: to, protocols, ports, action };
}

/** The networks that the server's container is in: its own address there, and the host's. */
export function ownNetworks(): string[] {
  const addresses = Object.values(networkInterfaces()).flatMap((each) => each ?? []);
  return addresses.flatMap(({ internal, cidr }) => (internal || !cidr ? [] : [cidr]));
}
