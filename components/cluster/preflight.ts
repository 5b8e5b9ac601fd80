import { homedir } from "node:os";
import { local } from "@pulumi/command";
import * as pulumi from "@pulumi/pulumi";
import { withVariables } from "../host/connection";
import { script } from "../host/scripts";
import type { ClusterSettings } from "../settings/cluster";
import type { ClusterNeeds, ClusterReport } from "./cluster-report";
import { kubectlVariables } from "./kubectl";
import { checkedReport } from "./preflight-report";
import type { RecordedCluster } from "./recorded-cluster";

/** Paths of the home folder are those of who deploys. */
export const withKubeconfig = (cluster: ClusterSettings): ClusterSettings => ({
  ...cluster,
  kubeconfig: cluster.kubeconfig?.replace(/^~(?=\/)/, () => homedir()),
});

export interface PreflightArgs extends Omit<ClusterNeeds, "own" | "before"> {
  kubeconfig?: string;
  /** The namespaces that the stack needs: the service's own and, where there is one, the device plugin's. */
  namespaces: readonly [string, string?];
  /** Labels of the namespaces that the stack has made: known in a preview, too. */
  own: pulumi.Output<Record<string, string>>;
  /** Where the stack is deployed, by the state of before this run. */
  before: pulumi.Output<RecordedCluster>;
}

/** Lines for `sh -s` on this machine that print what {@link checkedReport} reads. */
export function preflightScript({ namespaces, ...cluster }: Omit<PreflightArgs, "own" | "before">): string {
  const { service, nodePort } = cluster;
  const variables = {
    ...{ NAMESPACE: namespaces[0], DEVICES: namespaces[1] ?? "" },
    NODE_PORT: service === "NodePort" ? (nodePort ?? "") : "",
  };
  return withVariables({ ...kubectlVariables(cluster), ...variables }, script("cluster/preflight"));
}

/**
 * Looks at the cluster in every preview and up, with kubectl on this machine.
 *
 * @throws VisibleError (into the output) that says all that is missing
 */
export function clusterPreflight(
  args: Omit<PreflightArgs, "kubeconfig"> & { kubeconfig?: pulumi.Input<string | undefined> },
  parent: pulumi.Resource,
): pulumi.Output<ClusterReport> {
  const stdin = pulumi
    .output(args.kubeconfig)
    .apply((kubeconfig) => preflightScript({ ...args, kubeconfig }));
  const asked = local.runOutput({ command: "sh -s", stdin, logging: "none" }, { parent });
  return pulumi
    .all([asked, args.own, args.before])
    .apply(([{ stdout }, own, before]) => checkedReport(stdout, { ...args, own, before }));
}
