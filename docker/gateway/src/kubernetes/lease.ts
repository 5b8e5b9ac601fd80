import { createHash } from "node:crypto";
import { hostname } from "node:os";
import * as z from "zod";
import type { Hold } from "../backends/servers/names";

/** Prefix of what is ours on an object. */
const OURS = "microsandbox-stack";
const STATE = `${OURS}/state`;
const ID = `${OURS}/id`;
const SINCE = `${OURS}/since`;
const ATTEMPT = `${OURS}/attempt`;
const SERVERS = `${OURS}/servers`;

/** What is read of a Lease. */
export const leaseShape = z.object({
  metadata: z.object({
    name: z.string(),
    resourceVersion: z.string(),
    creationTimestamp: z.string(),
    annotations: z.record(z.string(), z.string()).default({}),
  }),
});
export const leaseListShape = z.object({
  metadata: z.object({ continue: z.string().optional() }),
  items: z.array(leaseShape),
});
export type Lease = z.output<typeof leaseShape>;

/** A hold as it is written; `since` by the clock of the Kubernetes API. */
export type Written = Omit<Hold, "revision"> & {
  /** Names the attempt at writing it: who has not heard of its outcome finds it here. */
  attempt: string;
};

/** Name of the object for a name: a DNS label, which no other name has. @param group whose names they are */
export const leaseName = (group: string, name: string): string =>
  `name-${createHash("sha224")
    .update(JSON.stringify([group, name]))
    .digest("hex")}`;

/** Selects the objects of a group. */
export const leaseSelector = (group: string): string => encodeURIComponent(`${SERVERS}=${group}`);

export const newLease = (group: string, name: string, written: Written): object => ({
  apiVersion: "coordination.k8s.io/v1",
  kind: "Lease",
  metadata: {
    name: leaseName(group, name),
    labels: { [SERVERS]: group },
    annotations: annotationsOf(written),
  },
  spec: { holderIdentity: hostname() },
});

/** Changes a lease that nobody has changed since. */
export const leasePatch = (revision: string, written: Written): object => ({
  metadata: { resourceVersion: revision, annotations: annotationsOf(written) },
  spec: { holderIdentity: hostname() },
});

/** An empty one is none. */
const annotationsOf = ({ state, id, since, attempt }: Written): Record<string, string> => ({
  ...{ [STATE]: state, [ID]: id ?? "", [SINCE]: String(since), [ATTEMPT]: attempt },
});

/**
 * The hold of a lease. One that somebody has edited so that it can't be read is being made since it was created.
 * @param ahead milliseconds of the API's clock before this one
 */
export function holdOf({ metadata }: Lease, ahead: number): { hold: Hold; attempt: string | undefined } {
  const { annotations, creationTimestamp, resourceVersion: revision } = metadata;
  const state = (["making", "made", "lost"] as const).find((each) => each === annotations[STATE]) ?? "making";
  const written = Number(annotations[SINCE] ?? Number.NaN);
  const since = (Number.isFinite(written) ? written : Date.parse(creationTimestamp)) - ahead;
  return { hold: { state, id: annotations[ID] || null, since, revision }, attempt: annotations[ATTEMPT] };
}
