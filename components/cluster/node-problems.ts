import type { ClusterSettings } from "../settings/cluster";
import { formatSize } from "../settings/values";
import type { ClusterNeeds, ClusterReport } from "./cluster-report";
import { quantity } from "./quantity";

type Node = ClusterReport["nodes"][number];
type Taint = NonNullable<Node["taints"]>[number];
type Toleration = ClusterSettings["tolerations"][number];

/** Taints that Kubernetes sets by itself while a node is drained or ill: what waits for it is not refused. */
const PASSING = /^node\.(cloudprovider\.)?kubernetes\.io\//;

/** Why servers find no nodes, or no room on them. */
export function nodeProblem({ nodes }: ClusterReport, needs: ClusterNeeds): string | undefined {
  const { nodeSelector, kvmResource, tolerations } = needs;
  const labels = Object.entries(nodeSelector);
  if (nodes.length === 0) return "The cluster has no node.\n  expected: kubectl get nodes lists some";
  const chosen = nodes.filter(({ labels: of }) => labels.every(([key, value]) => of[key] === value));
  if (chosen.length === 0)
    return (
      `None of the ${nodes.length} nodes has the labels of cluster.nodeSelector: ${JSON.stringify(nodeSelector)}\n` +
      `  fix: kubectl label node NODE ${labels.map(([key, value]) => `${key}=${value}`).join(" ")}`
    );
  const open = chosen.filter((node) => repelling(node, tolerations).length === 0);
  if (open.length === 0) return allTainted(chosen, tolerations);
  const able = open.filter(
    ({ allocatable }) => kvmResource === undefined || quantity(allocatable[kvmResource] ?? "0") > 0,
  );
  if (able.length > 0) return noRoom(able, needs);
  return (
    `None of ${open.length} nodes advertises ${kvmResource}: no node has KVM, or the device plugin does not run.\n` +
    "  to install one of the stack's own: pulumi config rm --path microsandbox:cluster.kvmResource"
  );
}

/** The taints that keep servers from a node. */
const repelling = ({ taints = [] }: Node, tolerations: readonly Toleration[]): Taint[] =>
  taints.filter(
    (taint) =>
      taint.effect !== "PreferNoSchedule" &&
      !PASSING.test(taint.key) &&
      !tolerations.some((each) => tolerates(each, taint)),
  );

function tolerates({ key, operator, value = "", effect }: Toleration, taint: Taint): boolean {
  if (effect !== undefined && effect !== taint.effect) return false;
  // Without a key, `Exists` stands for any taint.
  if (key === undefined) return operator === "Exists";
  return key === taint.key && (operator === "Exists" || value === (taint.value ?? ""));
}

function allTainted(nodes: readonly Node[], tolerations: readonly Toleration[]): string {
  const all = nodes.flatMap((node) => repelling(node, tolerations));
  const written = all.map(({ key, value, effect }) => `${key}${value ? `=${value}` : ""}:${effect}`);
  const [{ key = "KEY", effect = "NoSchedule" } = {}] = all;
  return (
    `All ${nodes.length} nodes for servers have taints that cluster.tolerations does not name: ${[...new Set(written)].join(", ")}\n` +
    `  to run servers there: one more in cluster.tolerations, like {"key":"${key}","operator":"Exists"}\n` +
    `  to take it off a node: kubectl taint node NODE ${key}:${effect}-`
  );
}

/** Whether the nodes could hold the servers if nothing else ran on them. */
function noRoom(nodes: readonly Node[], needs: ClusterNeeds): string | undefined {
  const { servers, memoryReservation: memory, cpuReservation: cpus } = needs;
  const onNode = ({ allocatable }: Node) =>
    Math.floor(
      Math.min(quantity(allocatable.memory ?? "0") / memory, quantity(allocatable.cpu ?? "0") / cpus),
    );
  const room = nodes.reduce((sum, node) => sum + onNode(node), 0);
  if (room >= servers) return undefined;
  return (
    `The ${nodes.length} nodes for servers have room for ${room} of ${servers} servers, each with ` +
    `memoryReservation ${formatSize(memory)} and cpuReservation ${cpus}.\n` +
    `  fewer: pulumi config set --path microsandbox:cluster.servers ${Math.max(room, 1)}`
  );
}
