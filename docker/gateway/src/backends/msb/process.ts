import { type ChildProcess, spawn } from "node:child_process";
import { constants, setPriority } from "node:os";
import { basename } from "node:path";
import { invalidSpec, ServiceError } from "../../errors";
import { within } from "../../within";

export type ProcessResult = { code: number; stdout: string; stderr: string };

export type ProcessOptions = {
  env: NodeJS.ProcessEnv;
  /** Milliseconds from now after which the process is ended. */
  timeoutMs: number;
  /** Ends the process; the call then fails with the signal's reason. */
  signal?: AbortSignal;
  /** It leaves a child behind that goes on running, and may go on holding its output open. */
  leavesChild?: boolean;
  /** It gets what others leave of the CPUs. */
  inBackground?: boolean;
  /** Bytes that are kept of its standard error; what follows is dropped. Default: it ends what says too much. */
  mostStderr?: number;
};

/** Milliseconds between the request to end and the kill. */
const KILL_AFTER_MS = 2_000;
/** Milliseconds that output may take to arrive once its process has ended. */
const DRAIN_MS = 2_000;
const DRAIN_WITH_CHILD_MS = 50;
const MAX_OUTPUT = 32 * 1024 * 1024;

/**
 * Runs a program, without a shell, until it and its output have ended. When this settles, the process is gone.
 *
 * @throws ServiceError timeout; unavailable where no process can be started, invalidSpec where its arguments are
 *   longer than the system takes; the signal's reason
 */
export async function runProcess(
  path: string,
  args: string[],
  { env, timeoutMs, signal, leavesChild, inBackground, mostStderr }: ProcessOptions,
): Promise<ProcessResult> {
  signal?.throwIfAborted();
  const child = start(path, args, env);
  const exited = exitCode(child);
  if (inBackground && child.pid) yieldTo(child.pid);
  // Where there is no descriptor left, there are no pipes, and the failure is told a turn later.
  if (!child.stdout || !child.stderr) return { code: await exited, stdout: "", stderr: "" };
  const closed = new Promise<void>((resolve) => child.once("close", () => resolve()));

  let killed: { why: unknown } | undefined;
  let killing: NodeJS.Timeout | undefined;
  const end = (why: unknown) => {
    if (killed) return;
    killed = { why };
    child.kill("SIGTERM");
    killing = setTimeout(() => child.kill("SIGKILL"), KILL_AFTER_MS);
  };
  const tooLong = () => end(new ServiceError("runtimeFailed", `${basename(path)} said too much`));
  const stdout = collect(child.stdout, MAX_OUTPUT, tooLong);
  const stderr =
    mostStderr === undefined
      ? collect(child.stderr, MAX_OUTPUT, tooLong)
      : collect(child.stderr, mostStderr, () => undefined);
  const late = () => end(new ServiceError("timeout", `no answer within ${Math.ceil(timeoutMs / 1000)} s`));
  const timer = setTimeout(late, Math.max(0, timeoutMs));
  const aborted = () => end(signal?.reason);
  signal?.addEventListener("abort", aborted, { once: true });
  try {
    const code = await exited;
    // What was done in time counts, even if it was about to be killed.
    if (killed && code !== 0) throw killed.why;
    await within(closed, code === 0 && leavesChild ? DRAIN_WITH_CHILD_MS : DRAIN_MS);
    return { code, stdout: stdout.text(), stderr: stderr.text() };
  } finally {
    stdout.end();
    stderr.end();
    clearTimeout(timer);
    clearTimeout(killing);
    signal?.removeEventListener("abort", aborted);
  }
}

function yieldTo(pid: number): void {
  try {
    setPriority(pid, constants.priority.PRIORITY_LOW);
  } catch {
    // It has ended already.
  }
}

function start(path: string, args: string[], env: NodeJS.ProcessEnv): ChildProcess {
  try {
    return spawn(path, args, { env, stdio: ["ignore", "pipe", "pipe"] });
  } catch (error) {
    throw startError(error);
  }
}

/** Resolves when the process has ended; a killed one counts as failed. */
function exitCode(child: ChildProcess): Promise<number> {
  return new Promise((resolve, reject) => {
    child.once("error", (error) => reject(startError(error)));
    child.once("exit", (code) => resolve(code ?? 128));
  });
}

/** Why no process could be started. Some of these the system tells at once, some later. */
export function startError(error: unknown): unknown {
  const { code, path = "" } = error as NodeJS.ErrnoException;
  if (code === "E2BIG") return invalidSpec("the request is larger than what can be handed to the runtime");
  if (code === "EAGAIN" || code === "ENOMEM" || code === "EMFILE" || code === "ENFILE")
    return new ServiceError("unavailable", "the server has no room for another process at the moment", {
      ...{ retryAfterSeconds: 2, cause: error },
    });
  if (code === "ENOENT" || code === "EACCES")
    return new ServiceError("unavailable", `the server's program ${basename(path)} can't be started`, {
      cause: error,
    });
  return error;
}

/** Keeps what a stream gives until the end of that; the rest is read, so that whoever writes it can go on, and dropped. */
function collect(
  stream: NodeJS.ReadableStream,
  most: number,
  tooLong: () => void,
): { text: () => string; end: () => void } {
  let chunks: Buffer[] = [];
  let size = 0;
  const take = (chunk: Buffer) => {
    if (size < most) chunks.push(chunk.subarray(0, most - size));
    size += chunk.length;
    if (size > most) tooLong();
  };
  stream.on("data", take);
  return {
    text: () => Buffer.concat(chunks).toString("utf8"),
    end: () => {
      stream.off("data", take);
      stream.resume();
      chunks = [];
    },
  };
}
