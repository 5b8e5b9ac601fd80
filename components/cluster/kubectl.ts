import { local } from "@pulumi/command";
import * as pulumi from "@pulumi/pulumi";
import { withVariables } from "../host/connection";
import { type ScriptName, script } from "../host/scripts";

/** How kubectl on this machine reaches the cluster. What is undefined is as for any other kubectl here. */
export interface Kubectl {
  /** Path of the kubeconfig. */
  kubeconfig: pulumi.Input<string | undefined>;
  context: pulumi.Input<string | undefined>;
}

/** What kubectl.sh reads. */
export const kubectlVariables = ({
  kubeconfig = "",
  context = "",
}: {
  kubeconfig?: string | undefined;
  context?: string | undefined;
}) => ({
  KUBECONFIG_FILE: kubeconfig,
  CONTEXT: context,
});

export interface ClusterCommandArgs {
  kubectl: Kubectl;
  script: Extract<ScriptName, `cluster/${string}`>;
  variables: Record<string, string | number>;
  /** It runs again where one of them is another. */
  triggers: unknown[];
}

/** A script that does something on the cluster, when it is made and for other triggers. */
export function clusterCommand(
  name: string,
  { kubectl, script: file, variables, triggers }: ClusterCommandArgs,
  opts: pulumi.CustomResourceOptions,
): pulumi.Resource {
  const stdin = pulumi
    .output(kubectl)
    .apply((reached) => withVariables({ ...kubectlVariables(reached), ...variables }, script(file)));
  return new local.Command(
    name,
    { create: "sh -s", stdin, triggers, logging: "none", addPreviousOutputInEnv: false },
    opts,
  );
}
