import { existsSync, readdirSync, readFileSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { connectionOf, hostArgv } from "../../components/host/connection";
import { shellQuote } from "../../components/settings/shell";
import { exec } from "../../setup/exec";
import { projectRoot } from "../../setup/project";
import type { Reporter } from "../../setup/report";
import { backendFolder, findBackend } from "../backend";
import type { Pulumi } from "../pulumi";
import type { SetupHost } from "../stack";
import type { StateResource } from "./drift";

const emulatedHostScript = join(projectRoot, "emulated-host/emulated-host.sh");

/**
 * Starts emulated hosts that exist but do not run (a reboot, a killed QEMU): reading the state of what is on
 * them needs it. A host that was never made is left to Pulumi.
 */
export async function wakeEmulatedHosts(hosts: readonly SetupHost[], report: Reporter): Promise<void> {
  const emulated = hosts.filter(({ host }) => host === "emulated");
  await Promise.all(emulated.map(({ baseName }) => wakeEmulatedHost(baseName, report)));
}

async function wakeEmulatedHost(name: string, report: Reporter): Promise<void> {
  const { stdout } = await exec("bash", [emulatedHostScript, "status", name]);
  const status: { running: boolean; generation: number } = JSON.parse(stdout);
  if (status.running || status.generation === 0) return;
  report.say(`The emulated host ${name} does not run: starting it again, its disk is kept.`);
  await exec("bash", [emulatedHostScript, "resume", name], { stdio: ["ignore", "ignore", "inherit"] });
}

/**
 * Mends what an interrupted pulumi left behind: the lock of a process that is gone, operations whose end is not
 * known, and containers or networks that were made but not recorded. Volumes are never touched.
 *
 * @returns what the state knows then
 */
export async function recoverStack(
  stack: string,
  hosts: readonly SetupHost[],
  pulumi: Pulumi,
  report: Reporter,
): Promise<StateResource[]> {
  const locked = hasDeadLock(stack);
  if (locked) {
    report.say("An earlier pulumi run of this stack was cut off: releasing its lock.");
    await pulumi.read(["cancel", "--yes", "--stack", stack]);
  }
  const state = await exportState(stack, pulumi);
  if (state.pending.length === 0 && !locked) return state.resources;

  for (const operation of state.pending) report.say(`It was cut off while ${operation}.`);
  const ids = new Set(state.resources.map(({ id }) => id).filter((id) => id !== undefined));
  await removeUnrecorded(stack, hosts, ids, report);
  if (state.pending.length > 0) {
    await report.step("Find out how far it came", () =>
      pulumi.read(["refresh", "--clear-pending-creates", "--yes", "--skip-preview", "--stack", stack]),
    );
  }
  return readResources(stack, pulumi);
}

/** Whether all locks of a stack in a backend of this machine belong to processes of it that have ended. */
export function hasDeadLock(stack: string, folder = backendFolder(findBackend(stack))): boolean {
  if (folder === undefined) return false;
  const locks = join(folder, ".pulumi/locks/organization/microsandbox", stack);
  if (!existsSync(locks)) return false;
  const files = readdirSync(locks).filter((file) => file.endsWith(".json"));
  const owners = files.map((file) => JSON.parse(readFileSync(join(locks, file), "utf8")));
  return owners.length > 0 && owners.every((owner) => owner.hostname === hostname() && !isAlive(owner.pid));
}

function isAlive(pid: number): boolean {
  try {
    return readFileSync(`/proc/${pid}/comm`, "utf8").startsWith("pulumi");
  } catch {
    return false;
  }
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

/** Containers and networks with this stack's labels that the state does not know would be in the next run's way. */
async function removeUnrecorded(
  stack: string,
  hosts: readonly SetupHost[],
  recorded: Set<string>,
  report: Reporter,
): Promise<void> {
  const filters = [
    "--filter",
    "label=io.microsandbox.project=microsandbox",
    "--filter",
    `label=io.microsandbox.stack=${stack}`,
  ];
  for (const host of hosts) {
    for (const [kind, list, remove] of [
      ["container", ["ps", "--all", "--quiet", "--no-trunc"], ["rm", "--force"]],
      ["network", ["network", "ls", "--quiet", "--no-trunc"], ["network", "rm"]],
    ] as const) {
      const { stdout, failed } = await dockerOn(host, [...list, ...filters]);
      if (failed) break;
      for (const id of stdout.split("\n").filter((line) => line && !recorded.has(line))) {
        report.say(`Removing the ${kind} ${id.slice(0, 12)}: it was made but not recorded.`);
        await dockerOn(host, [...remove, id]);
      }
    }
  }
}

/** Runs the docker client on a host. */
export const dockerOn = (host: SetupHost, args: readonly string[]) => runOn(host, ["docker", ...args]);

/** Runs a line of shell on a host. */
export const shellOn = (host: SetupHost, line: string) => runOn(host, ["sh", "-c", line]);

async function runOn(host: SetupHost, command: string[]): Promise<{ stdout: string; failed: boolean }> {
  // The connection of an emulated host is not in the state yet where the first `up` was cut off.
  const [program = "docker", ...words] =
    host.host === "emulated"
      ? ["bash", emulatedHostScript, "ssh", host.baseName, "--", ...command.map(shellQuote)]
      : hostArgv(connectionOf(host), command);
  const { stdout, failed } = await exec(program, words, { reject: false, stdin: "ignore" });
  return { stdout: stdout ?? "", failed };
}
