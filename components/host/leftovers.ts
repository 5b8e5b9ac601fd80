import { local } from "@pulumi/command";
import * as pulumi from "@pulumi/pulumi";
import { shellQuote } from "../settings/shell";
import { VisibleError } from "../settings/visible-error";
import { type Connection, hostShell } from "./connection";
import type { Recorded } from "./deployment";
import type { Owner } from "./ownership";
import type { HostObject } from "./preflight-report";

/**
 * Containers and networks that a run of this stack created and was killed before it could record them. They have the id of
 * this deployment, which no other state has, and hold no data; they would be in the way of those that are created now.
 */
export function leftovers(
  found: readonly HostObject[],
  owner: Pick<Owner, "deployment" | "has">,
): HostObject[] {
  return found.filter(
    ({ kind, name, deployment }) =>
      kind !== "volume" && deployment !== "" && deployment === owner.deployment && !owner.has(kind, name),
  );
}

/**
 * Why an `up` can't replace the container: a run that was killed while it did so has created another one, and the state has
 * the one of before by the same name. Pulumi alone knows whether it would create one now, so that nothing is removed here: of
 * a container that somebody else has made anew it would take the old one to be there.
 */
export function cutOffReplacement(
  found: readonly HostObject[],
  owner: Pick<Recorded, "deployment" | "containerId">,
  stack: string,
): string | undefined {
  const other = found.find(({ kind, name, id, deployment }) => {
    const recorded = owner.containerId(name);
    const isOwn = deployment !== "" && deployment === owner.deployment;
    return kind === "container" && isOwn && id !== undefined && recorded !== undefined && id !== recorded;
  });
  if (!other) return undefined;
  return (
    `The container ${other.name} is not the one of this stack's state: a run that was killed while it replaced that one has ` +
    "created it, or somebody has since. The host was not changed, its volumes stay.\n" +
    `  to have it made anew, on the host: docker stop ${other.name} && docker rm ${other.name}\n` +
    `    then: pulumi refresh --stack ${stack} && pulumi up`
  );
}

/**
 * Removes them in an `up`, a server cleanly; a preview only says so.
 *
 * @throws VisibleError where one can't be removed, with the line that does it
 */
export async function removeLeftovers(
  connection: Connection,
  objects: readonly HostObject[],
  parent: pulumi.Resource,
): Promise<void> {
  if (objects.length === 0) return;
  const isPreview = pulumi.runtime.isDryRun();
  for (const { kind, name } of objects)
    await pulumi.log.warn(
      `The ${kind} ${name} was created by an interrupted run of this stack and is not in its state: ` +
        (isPreview ? "`up` removes it and creates it again." : "removing it."),
      parent,
    );
  if (isPreview) return;
  // A network can only be removed after its containers.
  const lines = [...objects].sort((a, b) => a.kind.localeCompare(b.kind)).map(removal);
  const stdin = lines.map((line) => `{ ${line}; } >/dev/null 2>&1 || echo ${shellQuote(line)}`).join("\n");
  const { stdout } = await local.run({ command: hostShell(connection), stdin, logging: "none" }, { parent });
  if (stdout.trim() === "") return;
  throw new VisibleError(
    "What an interrupted run of this stack created can't be removed.\n" +
      `  to remove it, on the host: ${stdout.trim().split("\n").join(" && ")}`,
  );
}

function removal({ kind, name }: HostObject): string {
  const quoted = shellQuote(name);
  return kind === "container"
    ? `docker stop ${quoted} && docker rm ${quoted}`
    : `docker network rm ${quoted}`;
}
