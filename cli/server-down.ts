import { hostArgv } from "../components/host/connection";
import { exec } from "../setup/exec";
import type { Reporter } from "../setup/report";
import { UserError } from "../setup/user-error";
import type { Server } from "./servers";

/**
 * What of a deployed server is down, asked once a command on it has failed: its host, its container or what runs in it.
 *
 * @param report says what is waited for: a host that is off answers late
 * @param mayBeStopped whether the command works on a container that does not run
 * @returns an error with the line to type; undefined where all of it is up, and the command has failed by itself
 */
export async function whyDown(
  { stack, container, connection }: Server & { stack: string },
  report: Reporter,
  mayBeStopped = false,
): Promise<UserError | undefined> {
  const command = ["docker", "inspect", "--format", "{{.State.Status}}", container];
  const [program = "docker", ...words] = hostArgv(connection, command);
  const look = () => exec(program, words, { stdin: "ignore", reject: false });
  const { exitCode, stdout, stderr } = await report.wait("the command has failed: asking the host why", look);
  const state = String(stdout).trim();
  if (exitCode === 0 && (state === "running" || mayBeStopped)) return undefined;
  const next = `To start it again: npm run up -- --stack ${stack}`;
  if (exitCode === 0) return new UserError(`The server ${container} is not running (${state}).\n${next}`);
  if (/no such (object|container)/i.test(String(stderr)))
    return new UserError(`The server ${container} is deployed, but its container is gone.\n${next}`);
  const where = connection.kind === "local" ? "this machine" : `the host ${connection.address}`;
  const reason = String(stderr).trim().split("\n").at(-1) || "no answer";
  return new UserError(
    `The server ${container} can't be reached: the Docker engine of ${where} does not answer.\n` +
      `  ${reason}\nTo see what is down: npm run doctor -- --stack ${stack}\n${next}`,
  );
}
