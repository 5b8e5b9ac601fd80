import type { ClusterNeeds, ClusterReport } from "./cluster-report";
import type { RecordedCluster } from "./recorded-cluster";

/** Why a stack that is deployed elsewhere can't be deployed here; undefined where it is not. */
export function movedCluster(
  { cluster, context, set }: Pick<ClusterReport, "cluster" | "context" | "set">,
  { before, emulated }: Pick<ClusterNeeds, "before" | "emulated">,
): string | undefined {
  // An emulated cluster is the stack's own: one that was made anew has another id.
  const isOwn = before.isEmulated && emulated !== undefined;
  if (before.id !== undefined && before.id !== cluster && !isOwn) return otherCluster(before, context);
  if (before.namespace === undefined || before.namespace === set.namespace) return undefined;
  return (
    `The stack is deployed in the namespace ${before.namespace}, and cluster.namespace is ${set.namespace} now. The servers ` +
    "there would be removed, and new, empty ones would take their place. Nothing was changed.\n" +
    `  to leave it there:      pulumi config set --path microsandbox:cluster.namespace ${before.namespace}\n` +
    "  to move it:             set the namespace as it was, then: pulumi destroy; then set the new one, and: pulumi up\n" +
    "                          (volumes that are kept stay in the old one)\n" +
    "  to have a second one:   another stack (pulumi stack init NAME)"
  );
}

function otherCluster({ context: old, isEmulated }: RecordedCluster, context: string): string {
  const lines = (leave: string) =>
    ". The servers there would run on with their sandboxes, and no command would reach them. Neither cluster was changed.\n" +
    `  to leave it there:      ${leave}\n` +
    "  to move it:             let the settings lead to the old one, then: pulumi destroy; then to the new one, and: pulumi up\n" +
    "  to have a second one:   another stack (pulumi stack init NAME)\n" +
    "  where it is gone:       export PULUMI_K8S_DELETE_UNREACHABLE=true && pulumi destroy";
  if (isEmulated)
    return `The stack is deployed on its emulated cluster, and cluster.emulated is not set now${lines("set cluster.emulated as it was")}`;
  const shown = context === "" ? "another cluster" : `the context ${context}`;
  if (old !== undefined && old !== context) {
    const leave = `pulumi config set --path microsandbox:cluster.context ${old}`;
    return `The stack is deployed on the cluster of the context ${old}, and this run is for ${shown}, where nothing of it is${lines(leave)}`;
  }
  return (
    `The stack is deployed on another cluster than the one that ${shown} leads to now: the kubeconfig is another file ` +
    `(KUBECONFIG, cluster.kubeconfig), or the cluster was made anew${lines("set the kubeconfig as it was")}`
  );
}
