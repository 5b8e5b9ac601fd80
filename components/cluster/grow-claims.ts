import { local } from "@pulumi/command";
import type * as pulumi from "@pulumi/pulumi";
import { withVariables } from "../host/connection";
import { script } from "../host/scripts";
import type { ClusterSettings } from "../settings/cluster";
import { kubectlVariables } from "./preflight";
import { storageOf } from "./server-pods";

/**
 * Lets the servers' volumes grow: what a StatefulSet asks for can't be changed, and what it has made is not its own. The
 * preflight has refused what can't grow.
 *
 * @param servers once they are ready, all claims are there
 */
export function growClaims(
  name: string,
  cluster: ClusterSettings,
  { namespace, servers }: { namespace: string; servers: pulumi.Resource },
  parent: pulumi.Resource,
): pulumi.Resource {
  const { stateSize, workspaceSize } = cluster;
  const sizes = { STATE: storageOf(stateSize), WORKSPACE: storageOf(workspaceSize) };
  const stdin = withVariables(
    { ...kubectlVariables(cluster), NAMESPACE: namespace, ...sizes },
    script("cluster/grow-claims"),
  );
  // Those of new servers are as the set asks for, and grow, too.
  const triggers = [cluster.servers, stateSize, workspaceSize];
  return new local.Command(
    `${name}-claims`,
    { create: "sh -s", stdin, triggers, logging: "none", addPreviousOutputInEnv: false },
    { parent, dependsOn: servers },
  );
}
