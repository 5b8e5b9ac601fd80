import { isatty } from "node:tty";
import type { Options } from "execa";
import { type Child, exec } from "../setup/exec";
import { onInterruption } from "./interruption";

/** How a process of pulumi has ended. What it printed is empty where that was not read. */
export interface PulumiEnded {
  /** 1 where a signal has ended it, or it could not be started. */
  exitCode: number;
  stdout: string;
  stderr: string;
  /** Whether this process was asked to end meanwhile. */
  interrupted: boolean;
}

/**
 * Runs pulumi to its end; where this process is asked to end, pulumi ends in good order first, as after Ctrl+C.
 *
 * One request may come as several signals, to this process alone by its script and to all of its group, or as a terminal
 * that is gone. Pulumi takes a second one for "at once", with work half done, and dies of a SIGHUP. So it is in a session of
 * its own, where it gets what this process sends: one signal for a request, another one for each further Ctrl+C at a terminal.
 *
 * @param options with `stdio: "inherit"` at a terminal it stays in that session, where it may ask
 * @param started gets the process once it is started
 */
export async function runPulumi(
  program: string,
  args: readonly string[],
  options: Options,
  started?: (child: Child) => void,
): Promise<PulumiEnded> {
  const isAttended = [0, 1, 2].some((descriptor) => isatty(descriptor));
  const hasTerminal = isAttended && options.stdio === "inherit";
  let child: Child | undefined;
  let requests = 0;
  const end = onInterruption((signal) => {
    requests++;
    const isTyped = isAttended && signal === "SIGINT";
    if (isTyped ? !hasTerminal : requests === 1) child?.kill("SIGINT");
  });
  try {
    const how = { ...options, detached: !hasTerminal, reject: false } as const;
    const ended = await exec(program, args, how, (running) => {
      child = running;
      if (requests > 0) child.kill("SIGINT");
      started?.(running);
    });
    const { exitCode = 1, stdout, stderr } = ended;
    return {
      exitCode,
      stdout: String(stdout ?? ""),
      stderr: String(stderr ?? ""),
      interrupted: requests > 0,
    };
  } finally {
    end();
  }
}
