import { DEPLOYMENT_LABEL } from "../../components/host/preflight-report";
import { exec } from "../../setup/exec";
import type { Reporter } from "../../setup/report";
import { UserError } from "../../setup/user-error";
import type { Approve } from "../consent";
import type { Pulumi } from "../pulumi";
import type { SetupHost } from "../stack";
import { deploymentsOf, type StateResource } from "./drift";
import { madeEmulatedHosts } from "./host-resources";
import { hasDeadLock, runningPulumi } from "./locks";
import { dockerOn, dockerReason, emulatedHostScript } from "./on-host";
import { leaveOutUnreachable } from "./unreachable";

/**
 * Starts emulated hosts that the stack has made but that do not run (a reboot, a killed QEMU): reading the state of what is
 * on them needs it. Any other host is left to Pulumi.
 */
async function wakeEmulatedHosts(
  hosts: readonly SetupHost[],
  resources: readonly StateResource[],
  report: Reporter,
  approve: Approve,
): Promise<void> {
  const made = madeEmulatedHosts(hosts, resources);
  const states = await Promise.all(made.map(emulatedState));
  const asleep = made.filter((_, index) => !states[index]?.running && states[index]?.generation !== 0);
  if (asleep.length === 0) return;
  const repairs = asleep.map(
    ({ baseName }) => `The emulated host ${baseName} is not running: starting it again with its disk.`,
  );
  for (const line of repairs) report.say(line);
  await approve(repairs);
  const resume = async (host: SetupHost) => {
    const how = { stdio: ["ignore", "ignore", "inherit"], reject: false } as const;
    const { failed } = await exec("bash", [emulatedHostScript, "resume", host.baseName], how);
    return failed ? [host] : [];
  };
  const [still] = (await Promise.all(asleep.map(resume))).flat();
  if (still === undefined) return;
  const why = `The emulated host ${still.baseName} can't be started; the reason is above.`;
  // The others of a stack are no worse for it: it does not answer, and is left out.
  if (hosts.length > 1) report.say(why);
  else
    throw new UserError(`${why}\nTo try again: bash emulated-host/emulated-host.sh resume ${still.baseName}`);
}

/** Whether an emulated host runs, and how often it was started: 0 where it was never made. */
export async function emulatedState({
  baseName,
}: Pick<SetupHost, "baseName">): Promise<{ running: boolean; generation: number }> {
  const { stdout } = await exec("bash", [emulatedHostScript, "status", baseName]);
  return JSON.parse(stdout);
}

/**
 * Starts the stack's emulated hosts, and cleans up Pulumi's state after an interrupted run: the lock of a dead process and
 * pending operations, and the containers and networks that it created and did not record. Volumes are never touched.
 *
 * The program removes those too (components/host/leftovers.ts), by their names: not one that was to replace another, which is
 * in the state by that name, and not in a destroy.
 *
 * @param approve called before a host starts or anything is removed. Default: it may
 * @returns what the state knows then
 * @throws UserError where another run is at work on the stack
 */
export async function recoverStack(
  stack: string,
  hosts: readonly SetupHost[],
  pulumi: Pulumi,
  report: Reporter,
  approve: Approve = async () => {},
): Promise<StateResource[]> {
  // What it has under way is in the state, too, and was not interrupted.
  const busy = runningPulumi(stack);
  if (busy !== undefined)
    throw new UserError(
      `Another run is at work on stack ${stack} (pulumi, process ${busy}). Nothing was changed.\n` +
        "Wait until it has ended, then run the command again.",
    );
  if (hasDeadLock(stack)) {
    report.say("An earlier pulumi run of this stack was interrupted: releasing its lock.");
    await pulumi.read(["cancel", "--yes", "--stack", stack]);
  }
  const state = await exportState(stack, pulumi);
  await wakeEmulatedHosts(hosts, state.resources, report, approve);
  if (state.pending.length === 0) return state.resources;

  for (const operation of state.pending) report.say(`It was interrupted while ${operation}.`);
  await approve(["What an interrupted run has created without recording it is removed."]);
  // Another run, of which this machine sees nothing, has created things that it has not recorded yet, too: but it holds
  // Pulumi's lock, which the refresh needs. What was there before the refresh and is in no state after it is nobody's.
  const found = await unrecordedOn(hosts, state.resources, report);
  const unreachable = await leaveOutUnreachable(hosts, state.resources, report);
  const exclude = unreachable.flatMap((urn) => ["--exclude", urn]);
  await report.step("Check how far it got", () =>
    pulumi.read([
      "refresh",
      "--clear-pending-creates",
      ...exclude,
      "--yes",
      "--skip-preview",
      "--stack",
      stack,
    ]),
  );
  const resources = await readResources(stack, pulumi);
  const recorded = idsOf(resources);
  for (const each of found.filter(({ id }) => !recorded.has(id))) await remove(each, report);
  return resources;
}

/** What Pulumi's state knows of a stack. */
export const readResources = async (stack: string, pulumi: Pick<Pulumi, "read">) =>
  (await exportState(stack, pulumi)).resources;

async function exportState(
  stack: string,
  pulumi: Pick<Pulumi, "read">,
): Promise<{ pending: string[]; resources: StateResource[] }> {
  const { deployment } = JSON.parse(await pulumi.read(["stack", "export", "--stack", stack]));
  const operations: { type: string; resource: { urn: string } }[] = deployment.pending_operations ?? [];
  return {
    pending: operations.map(({ type, resource }) => `${type} ${resource.urn.split("::").slice(2).join(" ")}`),
    resources: deployment.resources ?? [],
  };
}

/** A container or network on a host that has the id of this deployment and is not in its state. */
interface Unrecorded {
  host: SetupHost;
  kind: "container" | "network";
  id: string;
}

const lists = {
  container: ["ps", "--all", "--quiet", "--no-trunc"],
  network: ["network", "ls", "--quiet", "--no-trunc"],
} as const;

/** Containers come first: a network can only be removed after them. Of a host that does not answer, that is said. */
async function unrecordedOn(
  hosts: readonly SetupHost[],
  resources: readonly StateResource[],
  report: Reporter,
): Promise<Unrecorded[]> {
  const recorded = idsOf(resources);
  const found: Unrecorded[] = [];
  for (const host of hosts)
    for (const kind of ["container", "network"] as const)
      for (const deployment of deploymentsOf(resources)) {
        const filter = ["--filter", `label=${DEPLOYMENT_LABEL}=${deployment}`];
        const listed = await dockerOn(host, [...lists[kind], ...filter]);
        if (listed.failed) {
          const why = dockerReason(listed);
          report.say(`What the interrupted run has left on the host ${host.name} is not known: ${why}`);
          continue;
        }
        const ids = listed.stdout.split("\n").filter((id) => id !== "" && !recorded.has(id));
        found.push(...ids.map((id) => ({ host, kind, id })));
      }
  return found;
}

const idsOf = (resources: readonly StateResource[]) => new Set(resources.flatMap(({ id }) => id ?? []));

/** @throws UserError where it can't be removed: what is to be made would find its name taken */
async function remove({ host, kind, id }: Unrecorded, report: Reporter): Promise<void> {
  report.say(`Removing the ${kind} ${id.slice(0, 12)}: it was created but is not in Pulumi's state.`);
  // A server that has got as far as this has resumed its sandboxes.
  if (kind === "container") await dockerOn(host, ["stop", id]);
  const words = kind === "container" ? ["rm", id] : ["network", "rm", id];
  const removed = await dockerOn(host, words);
  if (!removed.failed || /no such|not found/i.test(removed.stderr)) return;
  throw new UserError(
    `The ${kind} ${id.slice(0, 12)} on the host ${host.name} could not be removed: ${dockerReason(removed)}\n` +
      `To remove it, on the host: docker ${words.join(" ")}; then run the command again.`,
  );
}
