import * as kubernetes from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";

/**
 * The connection to the cluster. Of the kubeconfig the state has the path alone, nothing of what is in it.
 *
 * @param cluster which one it is: another path or context of the same one replaces nothing
 */
export function clusterProvider(
  name: string,
  { kubeconfig, context }: { kubeconfig?: pulumi.Input<string | undefined>; context?: string },
  cluster: pulumi.Input<string>,
  parent: pulumi.Resource,
): kubernetes.Provider {
  return new kubernetes.Provider(
    name,
    {
      kubeconfig: pulumi.output(kubeconfig).apply((path) => path as string),
      context,
      enableServerSideApply: true,
      clusterIdentifier: cluster,
    },
    { parent },
  );
}
