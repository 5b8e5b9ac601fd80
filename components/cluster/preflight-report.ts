import { VisibleError } from "../settings/visible-error";
import { clusterProblems } from "./cluster-problems";
import { type ClusterNeeds, type ClusterReport, clusterReport } from "./cluster-report";

/** @throws VisibleError that says all that is missing, each with what to type */
export function checkedReport(stdout: string, needs: ClusterNeeds): ClusterReport {
  const report = clusterReport.parse(JSON.parse(stdout.trim().split("\n").at(-1) ?? ""));
  if (!report.ok) throw new VisibleError(unanswered(report, needs));
  const problems = clusterProblems(report, needs);
  if (problems.length === 0) return report;
  throw new VisibleError(
    `The service can't be deployed to this cluster; nothing was changed.\n${problems.map((each) => `\n${each}\n`).join("")}`,
  );
}

function unanswered({ code, message }: { code: string; message: string }, { context }: ClusterNeeds): string {
  if (code === "no-kubectl")
    return (
      "kubectl was not found on this machine: the cluster could not be looked at. Nothing was changed.\n" +
      "  fix: install kubectl, https://kubernetes.io/docs/tasks/tools, and check it: kubectl get nodes"
    );
  if (/forbidden/i.test(message))
    return (
      `The user of the kubeconfig may not look at the cluster (${code}): ${message.trim()}\n` +
      "  expected: a user who may list nodes, storage classes and namespaces; nothing was changed"
    );
  const which = context === undefined ? "its current context" : `the context ${context}`;
  return (
    `The cluster of ${which} did not answer (${code}): ${message.trim()}\n` +
    `  expected: kubectl get nodes${context === undefined ? "" : ` --context ${context}`} lists the nodes\n` +
    "  another context: pulumi config set --path microsandbox:cluster.context NAME"
  );
}
