import { join } from "node:path";
import { connectionOf, hostArgv } from "../../components/host/connection";
import { DEPLOYMENT_LABEL } from "../../components/host/preflight-report";
import { shellQuote } from "../../components/settings/shell";
import { exec } from "../../setup/exec";
import { projectRoot } from "../../setup/project";
import type { Reporter } from "../../setup/report";
import { UserError } from "../../setup/user-error";
import type { Pulumi } from "../pulumi";
import type { SetupHost } from "../stack";
import type { StateResource } from "./drift";
import { madeEmulatedHosts } from "./host-resources";
import { hasDeadLock, runningPulumi } from "./locks";

const emulatedHostScript = join(projectRoot, "emulated-host/emulated-host.sh");

/**
 * Starts emulated hosts that the stack has made but that do not run (a reboot, a killed QEMU): reading the state of what is
 * on them needs it. Any other host is left to Pulumi.
 */
async function wakeEmulatedHosts(
  hosts: readonly SetupHost[],
  resources: readonly StateResource[],
  report: Reporter,
): Promise<void> {
  const made = madeEmulatedHosts(hosts, resources);
  await Promise.all(made.map(({ baseName }) => wakeEmulatedHost(baseName, report)));
}

/** Whether an emulated host runs, and how often it was started: 0 where it was never made. */
export async function emulatedState({
  baseName,
}: Pick<SetupHost, "baseName">): Promise<{ running: boolean; generation: number }> {
  const { stdout } = await exec("bash", [emulatedHostScript, "status", baseName]);
  return JSON.parse(stdout);
}

async function wakeEmulatedHost(name: string, report: Reporter): Promise<void> {
  const status = await emulatedState({ baseName: name });
  if (status.running || status.generation === 0) return;
  report.say(`The emulated host ${name} is not running: starting it again with its disk.`);
  await exec("bash", [emulatedHostScript, "resume", name], { stdio: ["ignore", "ignore", "inherit"] });
}

/**
 * Starts the stack's emulated hosts, and cleans up after an interrupted pulumi: the lock of a dead process, pending operations, and containers or networks that were
 * created but not recorded. Volumes are never touched.
 *
 * @returns what the state knows then
 * @throws UserError where another run is at work on the stack
 */
export async function recoverStack(
  stack: string,
  hosts: readonly SetupHost[],
  pulumi: Pulumi,
  report: Reporter,
): Promise<StateResource[]> {
  // What it has under way is in the state, too, and was not interrupted.
  const busy = runningPulumi(stack);
  if (busy !== undefined)
    throw new UserError(
      `Another run is at work on stack ${stack} (pulumi, process ${busy}). Nothing was changed.\n` +
        "Wait until it has ended, then run the command again.",
    );
  const locked = hasDeadLock(stack);
  if (locked) {
    report.say("An earlier pulumi run of this stack was interrupted: releasing its lock.");
    await pulumi.read(["cancel", "--yes", "--stack", stack]);
  }
  const state = await exportState(stack, pulumi);
  await wakeEmulatedHosts(hosts, state.resources, report);
  if (state.pending.length === 0 && !locked) return state.resources;

  for (const operation of state.pending) report.say(`It was interrupted while ${operation}.`);
  const ids = new Set(state.resources.map(({ id }) => id).filter((id) => id !== undefined));
  await removeUnrecorded(hosts, deploymentsOf(state.resources), ids, report);
  if (state.pending.length > 0) {
    await report.step("Check how far it got", () =>
      pulumi.read(["refresh", "--clear-pending-creates", "--yes", "--skip-preview", "--stack", stack]),
    );
  }
  return readResources(stack, pulumi);
}

/** What Pulumi's state knows of a stack. */
export const readResources = async (stack: string, pulumi: Pulumi) =>
  (await exportState(stack, pulumi)).resources;

async function exportState(
  stack: string,
  pulumi: Pulumi,
): Promise<{ pending: string[]; resources: StateResource[] }> {
  const { deployment } = JSON.parse(await pulumi.read(["stack", "export", "--stack", stack]));
  const operations: { type: string; resource: { urn: string } }[] = deployment.pending_operations ?? [];
  return {
    pending: operations.map(({ type, resource }) => `${type} ${resource.urn.split("::").slice(2).join(" ")}`),
    resources: deployment.resources ?? [],
  };
}

/** The ids of this state's deployments, one for each host. */
export const deploymentsOf = (resources: readonly StateResource[]): string[] =>
  resources.flatMap(({ urn, type, outputs }) =>
    type === "command:local:Command" && urn.endsWith("-deployment") && outputs?.stdout
      ? [outputs.stdout]
      : [],
  );

/**
 * Removes containers and networks of these deployments that are not in the state: the next run needs their names. Those of
 * another checkout, or of an earlier version, have another id or none and are kept.
 */
async function removeUnrecorded(
  hosts: readonly SetupHost[],
  deployments: readonly string[],
  recorded: Set<string>,
  report: Reporter,
): Promise<void> {
  const filters = deployments.map((id) => ["--filter", `label=${DEPLOYMENT_LABEL}=${id}`]);
  for (const host of hosts) {
    for (const filter of filters) {
      for (const [kind, list, remove] of [
        ["container", ["ps", "--all", "--quiet", "--no-trunc"], ["rm", "--force"]],
        ["network", ["network", "ls", "--quiet", "--no-trunc"], ["network", "rm"]],
      ] as const) {
        const { stdout, failed } = await dockerOn(host, [...list, ...filter]);
        if (failed) break;
        for (const id of stdout.split("\n").filter((line) => line && !recorded.has(line))) {
          report.say(`Removing the ${kind} ${id.slice(0, 12)}: it was created but is not in Pulumi's state.`);
          await dockerOn(host, [...remove, id]);
        }
      }
    }
  }
}

/** Runs the docker client on a host. */
export const dockerOn = (host: SetupHost, args: readonly string[]) => runOn(host, ["docker", ...args]);

/** Runs a line of shell on a host. */
export const shellOn = (host: SetupHost, line: string) => runOn(host, ["sh", "-c", line]);

/** The program and its arguments that run a command on a host. */
export function hostCommand(host: SetupHost, command: string[]): string[] {
  // The connection of an emulated host is not in the state yet where the first `up` was cut off.
  return host.host === "emulated"
    ? ["bash", emulatedHostScript, "ssh", host.baseName, "--", ...command.map(shellQuote)]
    : hostArgv(connectionOf(host), command);
}

async function runOn(host: SetupHost, command: string[]): Promise<{ stdout: string; failed: boolean }> {
  const [program = "docker", ...words] = hostCommand(host, command);
  const { stdout, failed } = await exec(program, words, { reject: false, stdin: "ignore" });
  return { stdout: stdout ?? "", failed };
}
