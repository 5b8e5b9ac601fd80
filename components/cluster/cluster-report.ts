import * as z from "zod";
import type { ClusterSettings } from "../settings/cluster";
import type { HostSettings } from "../settings/schema";
import type { RecordedCluster } from "./recorded-cluster";

/** What jsonpath prints of a field that may be missing: a list of none or one. */
const perhaps = <T extends z.ZodType>(schema: T) => z.array(schema).transform(([first]) => first);
const texts = z.record(z.string(), z.string());

const node = z.object({
  name: z.string(),
  labels: texts,
  allocatable: texts,
  addresses: perhaps(z.array(z.object({ type: z.string(), address: z.string() }))),
  taints: perhaps(z.array(z.object({ key: z.string(), value: z.string().optional(), effect: z.string() }))),
});
const storageClass = z.object({
  name: z.string(),
  annotations: perhaps(texts),
  expands: perhaps(z.boolean()),
});

/** What preflight.sh prints: one line of JSON. */
export const clusterReport = z.discriminatedUnion("ok", [
  z.object({
    ok: z.literal(false),
    code: z.enum([
      "no-kubectl",
      "unreachable",
      "nodes",
      "storage-classes",
      "namespaces",
      "claims",
      "servers",
      "rights",
    ]),
    /** What kubectl has said. */
    message: z.string(),
  }),
  z.object({
    ok: z.literal(true),
    /** Which cluster it is: the id of its namespace kube-system. */
    cluster: z.string().min(1),
    /** The context that was looked at, also where no setting names it; empty where there is none. */
    context: z.string(),
    version: z.object({ serverVersion: z.object({ major: z.string(), minor: z.string() }) }),
    nodes: z.array(node),
    /** Ports of the pods behind the API's service and that of DNS; none where they may not be read. */
    ports: z.object({ api: z.array(z.number()), dns: z.array(z.number()) }),
    storageClasses: z.array(storageClass),
    /** Of the namespaces of the stack, those that are there. */
    namespaces: z.array(
      z.object({
        name: z.string(),
        labels: perhaps(texts),
        /** Whether something runs in it; a destroy leaves nothing but volumes. */
        used: z.boolean(),
      }),
    ),
    /** The servers' claims that are there; `class` and `size` as they ask for them. */
    claims: z.array(
      z.object({
        name: z.string(),
        class: z.string().transform((text) => text || undefined),
        size: z.string(),
      }),
    ),
    /** The servers that there are, and what routers tell of them, by the names of pods: numbers, "" where it is not told. */
    set: z.object({
      namespace: z.string(),
      replicas: z.number(),
      counts: z.array(
        z.object({ name: z.string(), sandboxes: z.string(), volumes: z.string(), snapshots: z.string() }),
      ),
    }),
    /** Namespaces that the cluster would not make as they are to be. */
    refused: z.array(z.object({ name: z.string(), message: z.string() })),
    /** Why the port of the nodes can't be had; empty where it can. */
    nodePort: z.string(),
    /** What may not be done. @example "create secrets --namespace a" */
    denied: z.array(z.string()),
  }),
]);
export type ClusterReport = Extract<z.output<typeof clusterReport>, { ok: true }>;

/** What the report is judged by. */
export interface ClusterNeeds
  extends Pick<ClusterSettings, "servers" | "storageClass" | "stateSize" | "workspaceSize">,
    Pick<ClusterSettings, "service" | "nodePort">,
    Pick<ClusterSettings, "kvmResource" | "nodeSelector" | "tolerations" | "context" | "emulated">,
    Pick<HostSettings, "memoryReservation" | "cpuReservation"> {
  /** Labels of the namespaces that the stack has made. */
  own: Record<string, string>;
  before: RecordedCluster;
}
