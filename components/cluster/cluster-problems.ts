import { DEPLOYMENT_LABEL } from "../host/preflight-report";
import { claimProblems } from "./claims";
import type { ClusterNeeds, ClusterReport } from "./cluster-report";
import { movedCluster } from "./moved-cluster";
import { nodeProblem } from "./node-problems";
import { scaleInProblem } from "./scale-in";

/** The oldest that numbers the pods of a StatefulSet by a label. */
const OLDEST_MINOR = 28;
const DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class";

/** All that is missing, a block of lines each. */
export function clusterProblems(report: ClusterReport, needs: ClusterNeeds): string[] {
  const moved = movedCluster(report, needs);
  // Of a place where the stack is not to be, nothing else matters.
  if (moved) return [moved];
  return [
    oldVersion(report),
    nodeProblem(report, needs),
    noStorage(report, needs),
    ...claimProblems(report, needs),
    scaleInProblem(report.set, needs),
    ...report.namespaces.map((each) => foreign(each, needs)),
    ...report.refused.map(refused),
    takenPort(report, needs),
    denied(report),
  ].filter((each) => each !== undefined);
}

function oldVersion({ version: { serverVersion } }: ClusterReport): string | undefined {
  const { major, minor } = serverVersion;
  // Some vendors write 28+.
  if (Number(major) > 1 || Number.parseInt(minor, 10) >= OLDEST_MINOR) return undefined;
  return `Kubernetes ${major}.${minor} is too old.\n  expected: 1.${OLDEST_MINOR} or newer`;
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

const refused = ({ name, message }: ClusterReport["refused"][number]): string =>
  `The cluster refuses the namespace ${name}: ${message.trim()}\n` +
  "  expected: a namespace with the label pod-security.kubernetes.io/enforce, `restricted` for the service, `privileged` " +
  "for the device plugin\n" +
  "  without a device plugin of the stack's own: pulumi config set --path microsandbox:cluster.kvmResource NAME";

function takenPort({ nodePort: why }: ClusterReport, { nodePort }: ClusterNeeds): string | undefined {
  if (why === "") return undefined;
  return (
    `The cluster refuses the port ${nodePort} of its nodes: ${why.trim()}\n` +
    "  one that the cluster chooses: pulumi config rm --path microsandbox:cluster.nodePort"
  );
}

/** What may not be done, the verbs of one kind together. */
function denied({ denied: all }: ClusterReport): string | undefined {
  if (all.length === 0) return undefined;
  const verbs: Record<string, string[]> = {};
  for (const each of all) {
    const [verb = "", ...what] = each.split(" ");
    verbs[what.join(" ")] = [...(verbs[what.join(" ")] ?? []), verb];
  }
  const lines = Object.entries(verbs).map(([what, some]) => `${some.join(", ")} ${what}`);
  return `The user of the kubeconfig may not: ${lines.join("; ")}\n  to see it: kubectl auth can-i --list`;
}
