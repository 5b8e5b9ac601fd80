import type * as pulumi from "@pulumi/pulumi";
import type { ClusterSettings } from "../settings/cluster";
import { clusterCommand, type Kubectl } from "./kubectl";
import { storageOf } from "./server-pods";

export interface GrowClaimsArgs {
  kubectl: Kubectl;
  cluster: Pick<ClusterSettings, "servers" | "stateSize" | "workspaceSize">;
  namespace: string;
  /** Once they are ready, all claims are there. */
  servers: pulumi.Resource;
}

/**
 * Lets the servers' volumes grow: what a StatefulSet asks for can't be changed, and what it has made is not its own. The
 * preflight has refused what can't grow.
 */
export function growClaims(
  name: string,
  { kubectl, cluster, namespace, servers }: GrowClaimsArgs,
  parent: pulumi.Resource,
): pulumi.Resource {
  const { stateSize, workspaceSize } = cluster;
  const sizes = { STATE: storageOf(stateSize), WORKSPACE: storageOf(workspaceSize) };
  // Those of new servers are as the set asks for, and grow, too.
  const triggers = [cluster.servers, stateSize, workspaceSize];
  return clusterCommand(
    `${name}-claims`,
    { kubectl, script: "cluster/grow-claims", variables: { NAMESPACE: namespace, ...sizes }, triggers },
    { parent, dependsOn: servers },
  );
}
