import type { Recorded } from "./deployment";
import type { HostObject } from "./preflight-report";

/** Whose the objects on a host should be. */
export interface Owner extends Pick<Recorded, "deployment" | "has"> {
  project: string;
  stack: string;
  /** Name of the server's container: it may use the volumes. */
  containerName: string;
  /** The setting that names a volume. @example (name) => "volumes.state" */
  settingOf: (volume: string) => string;
}

/**
 * Why nothing may be done on a host: an object with a name that the stack needs is somebody else's. Undefined where all
 * that is there is this deployment's, or is data that an earlier one of the same stack has left for it.
 */
export function foreignObject(found: readonly HostObject[], owner: Owner): string | undefined {
  for (const object of found) {
    const reason = object.kind === "volume" ? foreignVolume(object, owner) : foreignServer(object, owner);
    if (reason) return reason;
  }
  return undefined;
}

const isOfStack = ({ project, stack }: HostObject, owner: Owner) =>
  project === owner.project && stack === owner.stack;

function maker({ project, stack }: HostObject, owner: Owner): string {
  if (project === "") return "was not made by this stack";
  if (project !== owner.project || stack !== owner.stack)
    return `belongs to the stack ${stack} of ${project}`;
  return `was made by another deployment of the stack ${stack}: from another checkout, or its state was lost`;
}

/** A container or a network, which hold no data. */
function foreignServer(object: HostObject, owner: Owner): string | undefined {
  const { kind, name, deployment } = object;
  const remove = kind === "container" ? `docker rm --force ${name}` : `docker network rm ${name}`;
  const recorded = owner.has(kind, name);
  if (isOfStack(object, owner)) {
    // What earlier versions have made has no id. What is not recorded was left by an interrupted run (leftovers.ts).
    if (deployment === "" ? recorded : deployment === owner.deployment) return undefined;
    const stop = kind === "container" ? `docker stop ${name} && docker rm ${name}` : remove;
    return (
      `The ${kind} ${name} ${maker(object, owner)}. The host was not changed.\n` +
      `  to replace it and keep using its volumes, on the host: ${stop}`
    );
  }
  const keep =
    kind === "container"
      ? `\n  to keep it, on the host: docker rename ${name} ${name}-old && docker stop ${name}-old`
      : "";
  return (
    `A ${kind} ${name} exists that ${maker(object, owner)}, but the server needs the name. The host was not changed.${keep}\n` +
    `  to remove it, on the host: ${remove}`
  );
}

/** A volume of this stack outlives its deployment (`volumes.keep`), and is taken up by the next one unless it is in use. */
function foreignVolume(object: HostObject, owner: Owner): string | undefined {
  const { name, project, usedBy } = object;
  const recorded = owner.has("volume", name);
  const another = `  another volume: pulumi config set --path microsandbox:${owner.settingOf(name)} ${name}-2`;
  if (!isOfStack(object, owner)) {
    // One without labels that the state has was taken by an earlier version.
    if (project === "" && recorded) return undefined;
    return (
      `The volume ${name} ${maker(object, owner)}: the server would use its contents. The host was not changed.\n` +
      another
    );
  }
  const others = usedBy.filter(
    (user) => user !== owner.containerName && user !== `${owner.containerName}-trial`,
  );
  if (recorded || others.length === 0) return undefined;
  return (
    `The volume ${name} ${maker(object, owner)}. It is in use by: ${others.join(", ")}. The host was not changed.\n` +
    another
  );
}
