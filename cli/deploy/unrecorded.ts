import { DEPLOYMENT_LABEL } from "../../components/host/preflight-report";
import type { Reporter } from "../../setup/report";
import type { Pulumi } from "../pulumi";
import type { SetupHost } from "../stack";
import type { StateResource } from "./drift";
import { dockerOn, readResources, refresh } from "./recover";

/** A container or network on a host that has the id of this deployment and is not in its state. */
interface Unrecorded {
  host: SetupHost;
  kind: "container" | "network";
  id: string;
}

/**
 * Removes what an interrupted `up` has created and not recorded, before a destroy: `pulumi destroy` does not run the
 * program, which removes it in an `up`, and can't remove a network that such a container is in. Volumes are never touched.
 *
 * Another run that is at work, on this machine or another, has created things that it has not recorded yet, too. Only what
 * was there before a refresh, which no other run lets through, and is in no state after it is nobody's.
 *
 * @param resources what the state knows
 * @throws UserError where another run is at work
 */
export async function removeUnrecorded(
  stack: string,
  hosts: readonly SetupHost[],
  resources: readonly StateResource[],
  pulumi: Pulumi,
  report: Reporter,
): Promise<void> {
  const found = await unrecordedOn(hosts, resources);
  if (found.length === 0) return;
  await report.step("Check that no other run is at work", () => refresh(stack, pulumi));
  const recorded = idsOf(await readResources(stack, pulumi));
  for (const { host, kind, id } of found.filter((each) => !recorded.has(each.id))) {
    report.say(`Removing the ${kind} ${id.slice(0, 12)}: it was created but is not in Pulumi's state.`);
    // A server that has got as far as this has resumed its sandboxes.
    if (kind === "container") await dockerOn(host, ["stop", id]);
    await dockerOn(host, kind === "container" ? ["rm", id] : ["network", "rm", id]);
  }
}

const lists = {
  container: ["ps", "--all", "--quiet", "--no-trunc"],
  network: ["network", "ls", "--quiet", "--no-trunc"],
} as const;

/** Containers come first: a network can only be removed after them. A host that does not answer has none. */
async function unrecordedOn(
  hosts: readonly SetupHost[],
  resources: readonly StateResource[],
): Promise<Unrecorded[]> {
  const recorded = idsOf(resources);
  const found: Unrecorded[] = [];
  for (const host of hosts)
    for (const kind of ["container", "network"] as const)
      for (const deployment of deploymentsOf(resources)) {
        const filter = ["--filter", `label=${DEPLOYMENT_LABEL}=${deployment}`];
        const { stdout, failed } = await dockerOn(host, [...lists[kind], ...filter]);
        if (failed) continue;
        const ids = stdout.split("\n").filter((id) => id !== "" && !recorded.has(id));
        found.push(...ids.map((id) => ({ host, kind, id })));
      }
  return found;
}

const idsOf = (resources: readonly StateResource[]) => new Set(resources.flatMap(({ id }) => id ?? []));

/** The ids of this state's deployments, one for each host. */
export const deploymentsOf = (resources: readonly StateResource[]): string[] =>
  resources.flatMap(({ urn, type, outputs }) =>
    type === "command:local:Command" && urn.endsWith("-deployment") && outputs?.stdout
      ? [outputs.stdout]
      : [],
  );
