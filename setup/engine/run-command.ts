/** Runs a program and collects what it says. */
import { exec } from "../exec";

/** How a program ended. Nothing is thrown for a failure: callers turn it into a sentence of their own. */
export interface Outcome {
  ok: boolean;
  /** Exit code; undefined when it could not be started, was killed, or ran out of time. */
  code?: number;
  stdout: string;
  stderr: string;
  /** Why there is no exit code of its own. */
  trouble?: "not found" | "timed out" | "killed";
  /** The last lines of stderr (or of stdout), for an error message. */
  tail: string;
}

/**
 * @param options.timeoutMs kills it after so many milliseconds. Default: never.
 * @param options.env is added to this process's environment.
 */
export async function runCommand(
  command: string,
  args: readonly string[],
  options: { timeoutMs?: number; env?: Record<string, string> } = {},
): Promise<Outcome> {
  const { exitCode, stdout, stderr, timedOut, code, shortMessage } = await exec(command, args, {
    stdin: "ignore",
    reject: false,
    stripFinalNewline: false,
    timeout: options.timeoutMs,
    killSignal: "SIGKILL",
    env: options.env,
  });
  const tailOf = (text: string) => text.split("\n").slice(-12).join("\n");
  if (exitCode === undefined && code !== undefined && !timedOut) {
    return { ok: false, stdout: "", stderr: "", trouble: "not found", tail: tailOf(shortMessage ?? "") };
  }
  const tail = tailOf(stderr.trim() || stdout.trim());
  if (exitCode !== undefined) return { ok: exitCode === 0, code: exitCode, stdout, stderr, tail };
  return { ok: false, stdout, stderr, trouble: timedOut ? "timed out" : "killed", tail };
}
