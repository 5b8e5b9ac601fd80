import * as kubernetes from "@pulumi/kubernetes";
import type * as pulumi from "@pulumi/pulumi";
import type { ClusterSettings } from "../settings/cluster";

/**
 * The connection to the cluster. Of the kubeconfig the state has the path alone, nothing of what is in it.
 *
 * @param cluster which one it is: another path or context of the same one replaces nothing
 */
export function clusterProvider(
  name: string,
  { kubeconfig, context }: Pick<ClusterSettings, "kubeconfig" | "context">,
  cluster: pulumi.Input<string>,
  parent: pulumi.Resource,
): kubernetes.Provider {
  return new kubernetes.Provider(
    name,
    {
      kubeconfig,
      context,
      enableServerSideApply: true,
      clusterIdentifier: cluster,
    },
    { parent },
  );
}
