import * as z from "zod";
import { DEPLOYMENT_LABEL } from "../host/preflight-report";
import type { ClusterSettings } from "../settings/cluster";
import { VisibleError } from "../settings/visible-error";

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
    code: z.enum(["no-kubectl", "unreachable", "nodes", "storage-classes", "namespaces"]),
    /** What kubectl has said. */
    message: z.string(),
  }),
  z.object({
    ok: z.literal(true),
    /** Which cluster it is: the id of its namespace kube-system. */
    cluster: z.string().min(1),
    version: z.object({ serverVersion: z.object({ major: z.string(), minor: z.string() }) }),
    nodes: z.array(node),
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
    /** What may not be done, as kubectl calls it. */
    denied: z.array(z.string()),
  }),
]);
export type ClusterReport = Extract<z.output<typeof clusterReport>, { ok: true }>;

/** The oldest that numbers the pods of a StatefulSet by a label. */
const OLDEST_MINOR = 28;
const DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class";

/** What the report is judged by. */
export interface ClusterNeeds
  extends Pick<ClusterSettings, "storageClass" | "kvmResource" | "nodeSelector" | "context"> {
  /** Labels of the namespaces that the stack has made. */
  own: Record<string, string>;
}

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
  const which = context === undefined ? "its current context" : `the context ${context}`;
  return (
    `The cluster of ${which} did not answer (${code}): ${message.trim()}\n` +
    `  expected: kubectl get nodes${context === undefined ? "" : ` --context ${context}`} lists the nodes\n` +
    "  another context: pulumi config set --path microsandbox:cluster.context NAME"
  );
}

/** All that is missing, a block of lines each. */
export function clusterProblems(report: ClusterReport, needs: ClusterNeeds): string[] {
  return [
    oldVersion(report),
    noNode(report, needs),
    noStorage(report, needs),
    ...report.namespaces.map((each) => foreign(each, needs)),
    denied(report),
  ].filter((each) => each !== undefined);
}

function oldVersion({ version: { serverVersion } }: ClusterReport): string | undefined {
  const { major, minor } = serverVersion;
  // Some vendors write 28+.
  if (Number(major) > 1 || Number.parseInt(minor, 10) >= OLDEST_MINOR) return undefined;
  return `Kubernetes ${major}.${minor} is too old.\n  expected: 1.${OLDEST_MINOR} or newer`;
}

function noNode({ nodes }: ClusterReport, { nodeSelector, kvmResource }: ClusterNeeds): string | undefined {
  const labels = Object.entries(nodeSelector);
  const chosen = nodes.filter(({ labels: of }) => labels.every(([key, value]) => of[key] === value));
  if (chosen.length === 0)
    return (
      `None of the ${nodes.length} nodes has the labels of cluster.nodeSelector: ${JSON.stringify(nodeSelector)}\n` +
      `  fix: kubectl label node NODE ${labels.map(([key, value]) => `${key}=${value}`).join(" ")}`
    );
  if (kvmResource === undefined) return undefined;
  if (chosen.some(({ allocatable }) => Number(allocatable[kvmResource] ?? 0) > 0)) return undefined;
  return (
    `None of ${chosen.length} nodes advertises ${kvmResource}: no node has KVM, or the device plugin does not run.\n` +
    "  to install one of the stack's own: pulumi config rm --path microsandbox:cluster.kvmResource"
  );
}

function noStorage({ storageClasses }: ClusterReport, { storageClass }: ClusterNeeds): string | undefined {
  const known = storageClasses.map(({ name }) => name);
  const list = known.length > 0 ? `it has ${known.join(", ")}` : "it has none at all";
  if (storageClass !== undefined)
    return known.includes(storageClass)
      ? undefined
      : `The cluster has no storage class ${storageClass}: ${list}.\n  fix: pulumi config set --path microsandbox:cluster.storageClass NAME`;
  if (storageClasses.some(({ annotations }) => annotations?.[DEFAULT_CLASS] === "true")) return undefined;
  return (
    `The cluster has no default storage class for the servers' volumes: ${list}.\n` +
    "  fix: pulumi config set --path microsandbox:cluster.storageClass NAME"
  );
}

/** Another deployment's, or nobody's: what is in it must not be touched. What a destroy of this stack has kept is its own. */
function foreign(
  { name, labels, used }: ClusterReport["namespaces"][number],
  { own }: ClusterNeeds,
): string | undefined {
  const differs = Object.entries(own).filter(([key, value]) => labels?.[key] !== value);
  if (differs.every(([key]) => key === DEPLOYMENT_LABEL && !used)) return undefined;
  return (
    `The namespace ${name} is there already, and was not made by this stack.\n` +
    "  another one: pulumi config set --path microsandbox:cluster.namespace NAME"
  );
}

function denied({ denied: all }: ClusterReport): string | undefined {
  if (all.length === 0) return undefined;
  return `The user of the kubeconfig may not: ${all.join("; ")}\n  to see it: kubectl auth can-i --list`;
}
