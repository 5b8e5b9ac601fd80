/** What Pulumi says of a step, before it takes it: the parts of its event log that are read here. */
export interface StepEvent {
  resourcePreEvent?: {
    metadata: {
      op: string;
      urn: string;
      type: string;
      /** What differs, by the path of the input. */
      detailedDiff?: Record<string, unknown> | null;
      old?: StepState | null;
      new?: StepState | null;
    };
  };
}

interface StepState {
  inputs?: { name?: string; delete?: string; metadata?: { name?: string; namespace?: string } } | null;
  retainOnDelete?: boolean;
}

type Step = NonNullable<StepEvent["resourcePreEvent"]>["metadata"];

/** One sentence for each step that users of the service, or their data, would notice; in the order of the steps. */
export function consequences(events: readonly StepEvent[]): string[] {
  const steps = events.flatMap(({ resourcePreEvent }) =>
    resourcePreEvent ? [resourcePreEvent.metadata] : [],
  );
  return [...new Set(steps.flatMap((step) => sentence(step) ?? []))];
}

function sentence(step: Step): string | undefined {
  const { type, urn } = step;
  if (type === "docker:index/container:Container") return ofContainer(step);
  if (type === "docker:index/volume:Volume") return ofVolume(step);
  if (type === "kubernetes:apps/v1:StatefulSet") return ofServers(step);
  if (type === "kubernetes:core/v1:Namespace") return ofNamespace(step);
  if (type !== "command:local:Command") return undefined;
  if (urn.endsWith("-upgrade-trial")) return ofUpgrade(step);
  return urn.endsWith("-emulated-machine") ? ofMachine(step) : undefined;
}

const name = ({ old, new: next }: Step): string => old?.inputs?.name ?? next?.inputs?.name ?? "";

function ofContainer(step: Step): string | undefined {
  const stops = "running sandboxes are stopped cleanly";
  if (step.op === "replace") {
    const paths = Object.keys(step.detailedDiff ?? {});
    const inputs = [...new Set(paths.map((path) => path.split(/[.[]/)[0]))];
    const why = inputs.length > 0 ? ` (changed: ${inputs.join(", ")})` : "";
    return `The container ${name(step)} is REPLACED${why}: ${stops} and start again in the new one.`;
  }
  if (step.op === "delete") return `The container ${name(step)} is REMOVED: ${stops}.`;
  if (step.op === "update") return `The container ${name(step)} is changed in place: sandboxes keep running.`;
  return undefined;
}

function ofVolume(step: Step): string | undefined {
  const left = step.old?.retainOnDelete
    ? `The volume ${name(step)} STAYS on the host with all its data, but no longer belongs to this stack`
    : `The volume ${name(step)} is REMOVED with all its data`;
  if (step.op === "delete") return `${left}.`;
  if (step.op !== "replace") return undefined;
  const next = step.new?.inputs?.name ?? "";
  const other = next === name(step) ? "a new, empty one takes its place" : `the server uses ${next} instead`;
  return `${left}: ${other}.`;
}

function ofServers({ op, old }: Step): string | undefined {
  const where = `The servers of the namespace ${old?.inputs?.metadata?.namespace ?? ""} are`;
  if (op === "replace") return `${where} REPLACED, all at once: running sandboxes are stopped.`;
  return op === "delete" ? `${where} REMOVED: running sandboxes are stopped.` : undefined;
}

/** The servers' volumes are in it, whatever becomes of the servers. */
function ofNamespace({ op, old, urn }: Step): string | undefined {
  if ((op !== "delete" && op !== "replace") || urn.endsWith("-devices-namespace")) return undefined;
  const space = `The namespace ${old?.inputs?.metadata?.name ?? ""}`;
  return old?.retainOnDelete
    ? `${space} STAYS with the servers' volumes, but no longer belongs to this stack.`
    : `${space} is REMOVED, and the servers' volumes with all their data.`;
}

function ofUpgrade({ op }: Step): string | undefined {
  if (op !== "replace") return undefined;
  return (
    "The server's image changes: the server is stopped, its state is copied, and the new image must become ready on it " +
    "before the container is replaced. If it does not, the old server is started again."
  );
}

function ofMachine({ op, old, detailedDiff }: Step): string | undefined {
  // Where the commands alone differ, the machine is as it is to be.
  const paths = Object.keys(detailedDiff ?? {});
  const isOther = paths.length === 0 || paths.some((path) => path.startsWith("environment"));
  if (op === "update" && isOther) return "The emulated host is RESTARTED with everything on it.";
  if (op !== "delete") return undefined;
  return old?.inputs?.delete?.includes("--keep-disk")
    ? "The emulated host is shut down; its disk, with the volumes, STAYS."
    : "The emulated host is REMOVED with its disk and the volumes on it.";
}
