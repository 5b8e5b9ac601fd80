import type { Readable, Writable } from "node:stream";
import type { Options, Result } from "execa";

/**
 * Runs a program through execa. execa is an ES module and the code here is CommonJS (Pulumi's loader needs it so),
 * hence the import at the time of the call.
 *
 * With `reject: false`, the reason why a program could not be started is where its own words would be.
 *
 * @param started gets the process, to read from or to signal, once it is started
 */
export async function exec<const Given extends Options = Record<never, never>>(
  program: string,
  args: readonly string[] = [],
  options?: Given,
  started?: (child: Child) => void,
): Promise<Result<Given>> {
  const { execa } = await import("execa");
  // Of its overloads, the one that is called here.
  const run = execa as unknown as (...all: [string, readonly string[], Given?]) => Child & PromiseLike<Ended>;
  const child = run(program, args, options);
  started?.(child);
  const ended = await child;
  tellUnstarted(program, ended, options);
  // The declared result of execa is this one for any fixed type of options; TypeScript can't see it for a variable one.
  return ended as Result<Given>;
}

/** A process that runs; its streams are there where they are not inherited. */
export interface Child {
  readonly stdout: Readable | null;
  readonly stderr: Readable | null;
  kill(signal: NodeJS.Signals): boolean;
}

/** The parts of execa's result that tell a program that could not be started, as on a machine without memory. */
interface Ended {
  exitCode?: number;
  signal?: string;
  /** @example "ENOENT", "EAGAIN" */
  code?: unknown;
  originalMessage?: string;
  /** Undefined where they are not read, and where the program's arguments are too long to start it. */
  stdout?: unknown;
  stderr?: unknown;
}

/** Such a program has said nothing: its standard error tells why, wherever that goes. */
function tellUnstarted(program: string, ended: Ended, options?: Options): void {
  const { exitCode, signal, code, originalMessage } = ended;
  if (exitCode !== undefined || signal !== undefined || typeof code !== "string") return;
  const why = `${program} can't be started: ${originalMessage ?? code}`;
  const all = options?.stdio;
  const target = options?.stderr ?? (Array.isArray(all) ? all[2] : all);
  if (target === "inherit") process.stderr.write(`${why}\n`);
  ended.stdout ??= "";
  ended.stderr ||= why;
}

/** A program whose streams are read or fed while it runs. */
export interface Piped {
  stdin: Writable;
  stdout: Readable;
  /** Settles when it has ended; never rejects. */
  ended: Promise<{ ok: boolean; stderr: string }>;
}

/** Starts a program to read from or write to; `cancelSignal` ends it. Without one, Ctrl+C does not end it either. */
export async function pipe(
  program: string,
  args: readonly string[],
  cancelSignal?: AbortSignal,
): Promise<Piped> {
  const { execa } = await import("execa");
  const detached = cancelSignal === undefined;
  const child = execa(program, args, { buffer: { stdout: false }, cancelSignal, detached, reject: false });
  // A program that ends early closes its input; its own words are the error that counts.
  child.stdin.on("error", () => undefined);
  const ended = child.then((result) => {
    tellUnstarted(program, result);
    return { ok: !result.failed, stderr: result.stderr };
  });
  return { stdin: child.stdin, stdout: child.stdout, ended };
}
