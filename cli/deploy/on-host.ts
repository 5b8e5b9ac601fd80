import { join } from "node:path";
import { connectionOf, hostArgv } from "../../components/host/connection";
import { shellQuote } from "../../components/settings/shell";
import { exec } from "../../setup/exec";
import { projectRoot } from "../../setup/project";
import type { SetupHost } from "../stack";

export const emulatedHostScript = join(projectRoot, "emulated-host/emulated-host.sh");

/** Why a command of docker on a host has failed, in a line. */
export const dockerReason = ({ stderr, stdout, exitCode }: Awaited<ReturnType<typeof dockerOn>>): string =>
  (stderr.trim() || stdout.trim()).split("\n").at(-1) || `exit code ${exitCode}`;

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

async function runOn(host: SetupHost, command: string[]) {
  const [program = "docker", ...words] = hostCommand(host, command);
  const { stdout, stderr, failed, exitCode } = await exec(program, words, { reject: false, stdin: "ignore" });
  return { stdout: stdout ?? "", stderr: stderr ?? "", failed, exitCode };
}
