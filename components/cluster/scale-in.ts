import type { ClusterNeeds, ClusterReport } from "./cluster-report";
import { names } from "./layout";

/** Why no server can be taken away: those with the highest numbers go, and what is on them could not be reached any more. */
export function scaleInProblem(
  { replicas, counts, namespace }: ClusterReport["set"],
  { servers: wanted }: ClusterNeeds,
): string | undefined {
  const going = Array.from({ length: Math.max(0, replicas - wanted) }, (_, at) => wanted + at);
  const lines = going.flatMap((number) => {
    const name = `${names.servers}-${number}`;
    const told = counts.find((each) => each.name === name);
    const has = [told?.sandboxes, told?.volumes, told?.snapshots];
    if (has.every((count) => count === "0")) return [];
    const [sandboxes, volumes, snapshots] = has;
    return [
      has.every(Boolean)
        ? `  ${name}: sandboxes: ${sandboxes}, volumes: ${volumes}, snapshots: ${snapshots}`
        : `  ${name}: no router tells what it has`,
    ];
  });
  if (lines.length === 0) return undefined;
  return [
    `cluster.servers is ${wanted}, and servers that would go have sandboxes, volumes or snapshots:`,
    ...lines,
    `  to keep them: pulumi config set --path microsandbox:cluster.servers ${replicas}`,
    `  without them: kubectl scale statefulset/${names.servers} --replicas ${wanted} --namespace ${namespace}; their disks stay`,
  ].join("\n");
}
