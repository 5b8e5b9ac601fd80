/**
 * Runs a program and collects what it says. (execa is an ES module whose dependencies can't be required, and
 * the code here is CommonJS: Pulumi's loader and tsx both need it so.)
 */
import { spawn } from "node:child_process";

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
export function runCommand(
  command: string,
  args: readonly string[],
  options: { timeoutMs?: number; env?: Record<string, string> } = {},
): Promise<Outcome> {
  return new Promise((resolve) => {
    let stdout = "";
    let stderr = "";
    let timedOut = false;
    const child = spawn(command, args, {
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, ...options.env },
    });
    const timer = options.timeoutMs
      ? setTimeout(() => {
          timedOut = true;
          child.kill("SIGKILL");
        }, options.timeoutMs)
      : undefined;
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      stdout += text;
    });
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      stderr += text;
    });
    const finish = (end: { code?: number; trouble?: Outcome["trouble"]; text?: string }) => {
      clearTimeout(timer);
      const tail = (end.text ?? (stderr.trim() || stdout.trim())).split("\n").slice(-12).join("\n");
      resolve({ ok: end.code === 0, code: end.code, trouble: end.trouble, stdout, stderr, tail });
    };
    child.on("error", (error) => finish({ trouble: "not found", text: error.message }));
    child.on("close", (code) => {
      if (code !== null) finish({ code });
      else finish({ trouble: timedOut ? "timed out" : "killed" });
    });
  });
}
