import * as kubernetes from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";
import type { Kubectl } from "./kubectl";

/**
 * The connection to the cluster. Of the kubeconfig the state has the path alone, nothing of what is in it.
 *
 * @param cluster which one it is: another path or context of the same one replaces nothing
 */
export function clusterProvider(
  name: string,
  { kubeconfig, context }: Kubectl,
  cluster: pulumi.Input<string>,
  parent: pulumi.Resource,
): kubernetes.Provider {
  return new kubernetes.Provider(
    name,
    {
      kubeconfig: orNone(kubeconfig),
      context: orNone(context),
      enableServerSideApply: true,
      clusterIdentifier: cluster,
    },
    { parent },
  );
}

/** Inputs of a provider have no type for an output that may be undefined. */
const orNone = (text: pulumi.Input<string | undefined>) =>
  pulumi.output(text).apply((it) => (it || undefined) as string);
