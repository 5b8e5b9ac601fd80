import { existsSync, readdirSync, readFileSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { hostArgv, parseSshHost } from "../components/connection";
import { projectRoot, stateFolder } from "./backend";
import { exec } from "./exec";
import type { Pulumi } from "./pulumi";
import type { Reporter } from "./report";
import { settingsForSetup } from "./stack";

const emulatedHostScript = join(projectRoot, "toolchain/emulated-host/emulated-host.sh");

/**
 * Starts an emulated host that exists but does not run (a reboot, a killed QEMU): reading the state of what is on
 * it needs it. A host that was never made is left to Pulumi.
 */
export async function wakeEmulatedHost(stack: string, report: Reporter): Promise<void> {
  if (settingsForSetup(stack).host !== "emulated") return;
  const name = `microsandbox-${stack}`;
  const { stdout } = await exec("bash", [emulatedHostScript, "status", name]);
  const status: { running: boolean; generation: number } = JSON.parse(stdout);
  if (status.running || status.generation === 0) return;
  report.say("The emulated host of this stack does not run: starting it again, its disk is kept.");
  await exec("bash", [emulatedHostScript, "resume", name], { stdio: ["ignore", "ignore", "inherit"] });
}

/**
 * Mends what an interrupted pulumi left behind: the lock of a process that is gone, operations whose end is not
 * known, and containers or networks that were made but not recorded. Volumes are never touched.
 */
export async function recoverStack(stack: string, pulumi: Pulumi, report: Reporter): Promise<void> {
  const locked = hasDeadLock(stack);
  if (locked) {
    report.say("An earlier pulumi run of this stack was cut off: releasing its lock.");
    await pulumi.read(["cancel", "--yes", "--stack", stack]);
  }
  const state = await exportState(stack, pulumi);
  if (state.pending.length === 0 && !locked) return;

  for (const operation of state.pending) report.say(`It was cut off while ${operation}.`);
  await removeUnrecorded(stack, state.ids, report);
  if (state.pending.length > 0) {
    await report.step("Find out how far it came", () =>
      pulumi.read(["refresh", "--clear-pending-creates", "--yes", "--skip-preview", "--stack", stack]),
    );
  }
}

/** Whether all locks of a stack in our own file backend belong to processes of this machine that have ended. */
export function hasDeadLock(stack: string, folder = stateFolder): boolean {
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

async function exportState(stack: string, pulumi: Pulumi): Promise<{ pending: string[]; ids: Set<string> }> {
  const { deployment } = JSON.parse(await pulumi.read(["stack", "export", "--stack", stack]));
  const resources: { id?: string }[] = deployment.resources ?? [];
  const operations: { type: string; resource: { urn: string } }[] = deployment.pending_operations ?? [];
  return {
    pending: operations.map(({ type, resource }) => `${type} ${resource.urn.split("::").slice(2).join(" ")}`),
    ids: new Set(resources.map(({ id }) => id).filter((id) => id !== undefined)),
  };
}

/** Containers and networks with this stack's labels that the state does not know would be in the next run's way. */
async function removeUnrecorded(stack: string, recorded: Set<string>, report: Reporter): Promise<void> {
  const docker = dockerOf(stack);
  const filters = [
    "--filter",
    "label=io.microsandbox.project=microsandbox",
    "--filter",
    `label=io.microsandbox.stack=${stack}`,
  ];
  for (const [kind, list, remove] of [
    ["container", ["ps", "--all", "--quiet", "--no-trunc"], ["rm", "--force"]],
    ["network", ["network", "ls", "--quiet", "--no-trunc"], ["network", "rm"]],
  ] as const) {
    const { stdout, failed } = await docker([...list, ...filters]);
    if (failed) return;
    for (const id of stdout.split("\n").filter((line) => line && !recorded.has(line))) {
      report.say(`Removing the ${kind} ${id.slice(0, 12)}: it was made but not recorded.`);
      await docker([...remove, id]);
    }
  }
}

function dockerOf(stack: string): (args: readonly string[]) => Promise<{ stdout: string; failed: boolean }> {
  const { host, sshKeyFile, sshKnownHostsFile } = settingsForSetup(stack);
  const files = { identityFile: sshKeyFile, knownHostsFile: sshKnownHostsFile };
  const argv = (command: string[]): string[] => {
    // Its connection is not in the state yet where the first `up` was cut off.
    if (host === "emulated")
      return ["bash", emulatedHostScript, "ssh", `microsandbox-${stack}`, "--", ...command];
    return hostArgv(host === "local" ? { kind: "local" } : parseSshHost(host, files), command);
  };
  return async (args) => {
    const [program = "docker", ...words] = argv(["docker", ...args]);
    const { stdout, failed } = await exec(program, words, { reject: false, stdin: "ignore" });
    return { stdout: stdout ?? "", failed };
  };
}
