import { readFileSync } from "node:fs";
import * as z from "zod";
import { ServiceError } from "../../errors";
import { type EgressPolicy, type egressPolicy, ownNetworks } from "./egress";

const ranges = z.array(z.string());

/** What guests may reach at most, with the addresses that the host has now and the server's own networks. */
export type EgressLimit = {
  /** What sandboxes that are made already are compared with. */
  known: () => EgressPolicy;
  /** What new rules are made from. @throws ServiceError where the host's addresses are not known: they would be open. */
  required: () => EgressPolicy;
};

/** What pulls may not reach though it may be public. @throws ServiceError where the host's addresses are not known */
export const closedToPulls = (limit: EgressLimit): string[] => [
  ...limit.required().hostRanges,
  ...ownNetworks(),
];

/**
 * The host's addresses come in a file, which the stack replaces as a whole: a host's address may change by the day, and
 * that must not take another server.
 *
 * @param file JSON, a list of ranges; undefined where nothing but the policy itself counts
 */
export function egressLimit(policy: z.output<typeof egressPolicy>, file?: string): EgressLimit {
  const withRanges = (hostRanges: string[]): EgressPolicy => ({
    ...policy,
    hostRanges: [...policy.hostRanges, ...hostRanges],
    ownNetworks: ownNetworks(),
  });
  if (file === undefined) return { known: () => withRanges([]), required: () => withRanges([]) };
  return {
    known: () => withRanges(readRanges(file) ?? []),
    required: () => {
      const found = readRanges(file);
      if (found !== undefined) return withRanges(found);
      throw new ServiceError(
        "unavailable",
        "the server has not been told its host's addresses, which sandboxes may not reach: a deployment does that last",
        { retryAfterSeconds: 5 },
      );
    },
  };
}

function readRanges(file: string): string[] | undefined {
  try {
    return ranges.parse(JSON.parse(readFileSync(file, "utf8")));
  } catch {
    return undefined;
  }
}
