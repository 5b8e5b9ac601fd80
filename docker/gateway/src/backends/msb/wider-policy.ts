import type * as z from "zod";
import { commonPorts, type Destination, type EgressPolicy, forbidden, type grant, LEVELS } from "./egress";
import { covers } from "./egress-names";
import { GROUP_RANGES, intersection, isWithin } from "./ip-ranges";

type Grant = z.output<typeof grant>;

/**
 * Whether a sandbox that was made under one policy may run under another: msb can't change the rules of one that
 * is made, so it has to be no wider. What can't be compared, such as a name with a range, counts as wider.
 */
export function isNoWider(made: EgressPolicy, now: EgressPolicy): boolean {
  if (LEVELS.indexOf(made.level) > LEVELS.indexOf(now.level)) return false;
  const host = now.level === "all" ? [] : now.hostRanges;
  return (
    // What is granted is so now, too, or the level no longer closes it.
    made.grants.every((each) => now.grants.some((other) => includes(other, each)) || isOpen(each, now)) &&
    host.every((range) => isClosed(range, made)) &&
    (now.ownNetworks ?? []).every((range) => isOwn(range, made))
  );
}

/** Whether the level leaves open all of what is granted. */
function isOpen({ destination }: Grant, policy: EgressPolicy): boolean {
  const ranges = rangesOf(destination);
  return ranges?.every((range) => !closedBy(policy).some((closed) => meets(closed, range))) ?? false;
}

/** Whether the level closes all of a range. */
const isClosed = (range: string, policy: EgressPolicy): boolean =>
  closedBy(policy).some(
    (closed) => closed === "any" || rangesOf(closed)?.some((each) => isWithin(range, each)),
  );

/** Whether no guest reaches a range of the server's own, whatever is granted. */
function isOwn(range: string, made: EgressPolicy): boolean {
  // Not known of those that older gateways made.
  if (made.ownNetworks?.some((own) => isWithin(range, own)) ?? true) return true;
  return isClosed(range, made) && !made.grants.some(({ destination }) => meets(destination, range));
}

const closedBy = (policy: EgressPolicy): Destination[] =>
  forbidden(policy).map(({ destination }) => destination);

/** Whether a destination may have an address of a range. */
const meets = (destination: Destination, range: string): boolean =>
  rangesOf(destination)?.some((each) => intersection(each, range) !== undefined) ?? true;

/** Undefined for what has no ranges of its own: names, all, and groups by exclusion. */
function rangesOf(destination: Destination): string[] | undefined {
  if (destination === "any") return undefined;
  if ("cidr" in destination) return [destination.cidr];
  return "group" in destination ? GROUP_RANGES[destination.group] : undefined;
}

/** Whether one grant is all within another: 10.1.2.0/24:80 in 10.1.0.0/16, but not the other way. */
function includes(outer: Grant, inner: Grant): boolean {
  const ports = commonPorts(outer.ports, inner.ports);
  return holds(outer.destination, inner.destination) && JSON.stringify(ports) === JSON.stringify(inner.ports);
}

function holds(outer: Destination, inner: Destination): boolean {
  if (outer === "any" || JSON.stringify(outer) === JSON.stringify(inner)) return true;
  if (inner === "any") return false;
  const [outers, inners] = [rangesOf(outer), rangesOf(inner)];
  if (outers && inners) return inners.every((range) => outers.some((each) => isWithin(range, each)));
  const isNamed = (to: Exclude<Destination, "any">) => "domain" in to || "domain_suffix" in to;
  return isNamed(outer) && isNamed(inner) && covers(outer, inner);
}
