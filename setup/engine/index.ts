/** The local Docker engine: looking at it, and getting one where there is none. */
import { spawn } from "node:child_process";
import { closeSync, existsSync, openSync, readFileSync, readlinkSync, rmSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { z } from "zod";
import type { Reporter } from "../report";
import { UserError } from "../user-error";
import { canInstallPackages, ensurePackages } from "./apt";
import { runCommand } from "./run-command";

export { canInstallPackages, missingPackages } from "./apt";
export { type BaseImage, debianRelease, ensureBaseImage } from "./base-image";

/** What an emulated KVM host needs on this machine; emulated-host.sh names the same ones when it misses them. */
export const emulationPackages = (architecture: "amd64" | "arm64") => [
  architecture === "arm64" ? "qemu-system-arm" : "qemu-system-x86",
  "mmdebstrap",
  "debian-archive-keyring",
  "e2fsprogs",
  "kmod",
  "openssh-client",
  "xz-utils",
];

const ENGINE_PACKAGES = ["docker.io", "iptables"] as const;
const DOCKERD_LOG = "/var/log/dockerd.log";
const DOCKERD_PID = "/var/run/docker.pid";

const serverVersionSchema = z.object({
  Version: z.string(),
  ApiVersion: z.string(),
  Os: z.string(),
  Arch: z.string(),
  Components: z.array(z.object({ Name: z.string() })).default([]),
});

/** Podman answers like Docker, but lacks features for builds and volumes. */
const PODMAN =
  "it is Podman, which is not supported: the image is built with BuildKit, and the server's volumes and checks need Docker";

/** An engine that answers. */
export type RunningEngine = {
  answers: true;
  version: string;
  apiVersion: string;
  os: string;
  architecture: string;
};

/** What {@link inspectEngine} sees. */
export type EngineState =
  | RunningEngine
  | { answers: false; clientInstalled: boolean; daemonInstalled: boolean; reason: string };

/** Asks the engine that the Docker client is set to (DOCKER_HOST, context). Read-only; takes up to 10 seconds. */
export async function inspectEngine(): Promise<EngineState> {
  const daemonInstalled = existsSync("/usr/sbin/dockerd") || existsSync("/usr/bin/dockerd");
  const result = await runCommand("docker", ["version", "--format", "{{json .Server}}"], {
    timeoutMs: 10_000,
  });
  const clientInstalled = result.trouble !== "not found";
  if (!result.ok) {
    const reason = {
      "not found": "there is no docker command on PATH",
      "timed out": "it did not answer within 10 seconds",
      killed: "the docker command was killed",
    };
    return {
      answers: false,
      clientInstalled,
      daemonInstalled,
      reason: result.trouble ? reason[result.trouble] : result.tail,
    };
  }
  const { success, data: server } = serverVersionSchema.safeParse(JSON.parse(result.stdout));
  // Podman's own client, under the name of docker, gives other fields.
  if (!success || server.Components.some(({ Name }) => /podman/i.test(Name)))
    return { answers: false, clientInstalled, daemonInstalled, reason: PODMAN };
  return {
    answers: true,
    version: server.Version,
    apiVersion: server.ApiVersion,
    os: server.Os,
    architecture: server.Arch,
  };
}

/**
 * Makes sure that a Docker engine answers. Does nothing where one does; as root on Debian or Ubuntu it
 * installs one and starts it, and says so first.
 *
 * @returns the engine.
 * @throws UserError with what to type, where it can't.
 */
export async function ensureEngine(report: Reporter): Promise<RunningEngine> {
  const state = await inspectEngine();
  if (state.answers) return state;
  if (state.reason === PODMAN) throw new UserError(howToLeavePodman());
  if (process.env.DOCKER_HOST) {
    throw new UserError(
      `The Docker engine at DOCKER_HOST=${process.env.DOCKER_HOST} does not answer: ${state.reason}\n` +
        "Start it, or use this machine's own engine: unset DOCKER_HOST",
    );
  }
  if (/permission denied/i.test(state.reason)) {
    throw new UserError(
      "A Docker engine runs here, but this user may not use it.\n" +
        "Add yourself to its group, then log in again: sudo usermod -aG docker $USER",
    );
  }
  if (!(await canInstallPackages())) throw new UserError(howToGetAnEngine(state));

  if (!state.daemonInstalled || !state.clientInstalled) {
    await ensurePackages(report, ENGINE_PACKAGES, "the Docker engine");
  }
  const installed = await inspectEngine();
  if (installed.answers) return installed;
  report.say(`Starting the Docker engine (${runsSystemd() ? "systemd unit docker" : `log: ${DOCKERD_LOG}`})`);
  return report.step("Start the Docker engine", startEngine);
}

function howToLeavePodman(): string {
  const host = process.env.DOCKER_HOST;
  const where = host ? `The engine at DOCKER_HOST=${host} can't be used` : "The docker command can't be used";
  const remedy = host
    ? "To use this machine's Docker engine: unset DOCKER_HOST"
    : "To have Docker beside it: install the package docker.io or docker-ce in place of podman-docker";
  return `${where}: ${PODMAN}.\n${remedy}`;
}

/** The advice for a machine on which this process can't install or start an engine. */
function howToGetAnEngine(state: { daemonInstalled: boolean; reason: string }): string {
  const advice = state.daemonInstalled
    ? "Start it: sudo systemctl start docker (or, without systemd: sudo dockerd)"
    : process.platform === "linux"
      ? "Install one: sudo apt-get install docker.io (Debian, Ubuntu), sudo dnf install moby-engine (Fedora), " +
        "or follow the engine's own instructions. As root on Debian or Ubuntu, `npm run setup` does it for you."
      : "Use a Linux machine: this system is not supported.";
  return `No Docker engine answers here: ${state.reason}\n${advice}`;
}

function runsSystemd(): boolean {
  return existsSync("/run/systemd/system");
}

async function startEngine(): Promise<RunningEngine> {
  if (runsSystemd()) {
    const result = await runCommand("systemctl", ["start", "docker"]);
    if (!result.ok) {
      throw new UserError(
        `The Docker engine did not start: ${result.tail}\nSee why: journalctl -u docker -n 30`,
      );
    }
    return waitUntilAnswers(() => true, "journalctl -u docker -n 30");
  }
  removeStalePidFile();
  // dockerd writes its own pid file (/var/run/docker.pid) and outlives this process.
  const log = openSync(DOCKERD_LOG, "a");
  const dockerd = spawn("dockerd", [], { detached: true, stdio: ["ignore", log, log] });
  closeSync(log);
  let ended = false;
  for (const event of ["exit", "error"]) {
    dockerd.once(event, () => {
      ended = true;
    });
  }
  dockerd.unref();
  return waitUntilAnswers(() => !ended, `tail -n 30 ${DOCKERD_LOG}`);
}

/** dockerd refuses to start when its pid file names a live process, even one that took over the number. */
function removeStalePidFile(): void {
  if (!existsSync(DOCKERD_PID)) return;
  const pid = readFileSync(DOCKERD_PID, "utf8").trim();
  try {
    if (readlinkSync(`/proc/${pid}/exe`).replace(" (deleted)", "").endsWith("/dockerd")) return;
  } catch {
    // No such process: the file is stale.
  }
  rmSync(DOCKERD_PID);
}

/** Waits up to 60 seconds for the engine; gives up at once when `alive` turns false. */
async function waitUntilAnswers(alive: () => boolean, seeWhy: string): Promise<RunningEngine> {
  const deadline = Date.now() + 60_000;
  let state = await inspectEngine();
  while (!state.answers && alive() && Date.now() < deadline) {
    await sleep(500);
    state = await inspectEngine();
  }
  if (state.answers) return state;
  throw new UserError(
    `The Docker engine was started but ${alive() ? "does not answer within 60 s" : "ended at once"}.\nSee why: ${seeWhy}`,
  );
}

/** Gets what an emulated cluster needs on this machine besides its programs. */
export async function ensureClusterPackages(report: Reporter): Promise<void> {
  const packages = ["iproute2", "openssl", "containernetworking-plugins"];
  const architecture = process.arch === "arm64" ? "arm64" : "amd64";
  await ensurePackages(report, [...emulationPackages(architecture), ...packages], "the emulated cluster");
}

/**
 * Installs the Debian packages that an emulated KVM host needs ({@link emulationPackages}), only those
 * missing, and says so first.
 *
 * @throws UserError with what to type, where it can't.
 */
export async function ensureEmulationPackages(
  report: Reporter,
  architecture: "amd64" | "arm64",
): Promise<void> {
  await ensurePackages(report, emulationPackages(architecture), "the emulated KVM host");
}
