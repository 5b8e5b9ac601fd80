import { type ChildProcess, type SpawnOptions, spawn } from "node:child_process";
import { statSync } from "node:fs";
import type { RunInputs } from "./inputs";
import { type LineSplitter, splitLines } from "./lines";
import { endGroup, GRACE_SECONDS } from "./process-group";
import { spawnFailure, statusText, Tail } from "./run-error";

/** More output than this fails the command: it would have to fit into the state. */
const MAX_OUTPUT_BYTES = 100 * 1024 * 1024;

/** What a command is run with, besides its inputs. */
export interface RunContext {
  /** Outputs of the create or update before this one. */
  previous: { stdout: string; stderr: string };
  /** Ends the command when it aborts; its reason, a string, is put into the error. */
  signal: AbortSignal;
  /** Takes a line of output to show while the command runs. */
  log: (line: string) => void;
  /** Takes secrets out of a text. */
  redact: (text: string) => string;
}

/** Outputs of a command. */
export type RunOutputs = { stdout: string; stderr: string };

/**
 * Runs a command to its end, in a process group of its own.
 *
 * @throws CommandError unless it exits with 0
 */
export async function run(command: string, inputs: RunInputs, context: RunContext): Promise<RunOutputs> {
  const directory = inputs.dir ?? process.cwd();
  const tail = new Tail(command, context.redact);
  if (context.signal.aborted) throw tail.error(String(context.signal.reason));
  if (!isDirectory(directory)) throw tail.error(`chdir ${directory}: no such file or directory`);

  const child = start(command, directory, inputs, context, tail);
  const output = capture(child, inputs, context, tail);
  const status = await ended(child, context.signal);
  output.flush();

  if (status !== undefined) throw tail.error(status.message);
  if (output.overflowed()) {
    throw tail.error(`its output is over ${MAX_OUTPUT_BYTES / 1024 / 1024} MiB; write it to a file instead`);
  }
  return { stdout: output.text("stdout"), stderr: output.text("stderr") };
}

function isDirectory(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
}

function start(
  command: string,
  cwd: string,
  inputs: RunInputs,
  context: RunContext,
  tail: Tail,
): ChildProcess {
  const [program, ...args] = inputs.interpreter?.length ? inputs.interpreter : ["/bin/sh", "-c"];
  const options: SpawnOptions = {
    cwd,
    env: { ...process.env, ...inputs.environment, ...previousOutput(inputs, context) },
    stdio: [inputs.stdin ? "pipe" : "ignore", "pipe", "pipe"],
    // A group of its own, so that a cancellation reaches what the command started too.
    detached: true,
  };
  try {
    const child = spawn(program ?? "", [...args, command], options);
    child.stdin?.on("error", () => {}).end(inputs.stdin); // a command needn't read its input
    return child;
  } catch (error) {
    throw tail.error(spawnFailure(error, program ?? ""));
  }
}

function previousOutput(inputs: RunInputs, { previous }: RunContext): NodeJS.ProcessEnv {
  if (inputs.addPreviousOutputInEnv === false) return {};
  return {
    ...(previous.stdout && { PULUMI_COMMAND_STDOUT: previous.stdout }),
    ...(previous.stderr && { PULUMI_COMMAND_STDERR: previous.stderr }),
  };
}

function capture(child: ChildProcess, inputs: RunInputs, context: RunContext, tail: Tail) {
  const chunks = { stdout: [] as Buffer[], stderr: [] as Buffer[] };
  const loggers: LineSplitter[] = [];
  const logging = inputs.logging ?? "stdoutAndStderr";
  let room = MAX_OUTPUT_BYTES;
  for (const name of ["stdout", "stderr"] as const) {
    const logged = logging === name || logging === "stdoutAndStderr";
    const logger = logged ? splitLines((line) => context.log(context.redact(line))) : undefined;
    if (logger) loggers.push(logger);
    child[name]?.on("data", (chunk: Buffer) => {
      tail.push(chunk);
      logger?.push(chunk);
      room -= chunk.length;
      if (room >= 0) chunks[name].push(chunk);
    });
  }
  return {
    flush: () => {
      for (const logger of loggers) logger.end();
    },
    overflowed: () => room < 0,
    text: (name: keyof typeof chunks) => Buffer.concat(chunks[name]).toString("utf8").replace(/\n$/, ""),
  };
}

/** Waits until the command and its output have ended; tells what went wrong, or nothing after exit code 0. */
async function ended(child: ChildProcess, signal: AbortSignal): Promise<{ message: string } | undefined> {
  return new Promise((resolve) => {
    const end = () => {
      if (child.pid !== undefined) endGroup(child.pid);
      // Something that left the group may hold the output open: don't wait for it.
      const giveUp = () => {
        child.stdout?.destroy();
        child.stderr?.destroy();
      };
      setTimeout(giveUp, (GRACE_SECONDS + 1) * 1000).unref();
    };
    signal.addEventListener("abort", end);
    child.once("error", (error) => {
      signal.removeEventListener("abort", end);
      resolve({ message: spawnFailure(error, child.spawnfile) });
    });
    child.once("close", (code, signalName) => {
      signal.removeEventListener("abort", end);
      const status = statusText(code, signalName);
      if (signal.aborted) resolve({ message: `${status ?? "exit status 0"} (${signal.reason})` });
      else resolve(status === undefined ? undefined : { message: status });
    });
  });
}
