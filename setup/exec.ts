import type { Readable, Writable } from "node:stream";
import type { Options, Result } from "execa";

/**
 * Runs a program through execa. execa is an ES module and the code here is CommonJS (Pulumi's loader needs it so),
 * hence the import at the time of the call.
 */
export async function exec<const Given extends Options = Record<never, never>>(
  program: string,
  args: readonly string[] = [],
  options?: Given,
): Promise<Result<Given>> {
  const { execa } = await import("execa");
  const run: (program: string, args: readonly string[], options?: Given) => PromiseLike<unknown> = execa;
  // The declared result of execa is this one for any fixed type of options; TypeScript can't see it for a variable one.
  return (await run(program, args, options)) as Result<Given>;
}

/** A program whose streams are read or fed while it runs. */
export interface Piped {
  stdin: Writable;
  stdout: Readable;
  /** Settles when it has ended; never rejects. */
  ended: Promise<{ ok: boolean; stderr: string }>;
}

/** Starts a program to read from or write to; `cancelSignal` ends it. */
export async function pipe(
  program: string,
  args: readonly string[],
  cancelSignal: AbortSignal,
): Promise<Piped> {
  const { execa } = await import("execa");
  const child = execa(program, args, { buffer: { stdout: false }, cancelSignal, reject: false });
  // A program that ends early closes its input; its own words are the error that counts.
  child.stdin.on("error", () => undefined);
  const ended = child.then(({ failed, stderr }) => ({ ok: !failed, stderr }));
  return { stdin: child.stdin, stdout: child.stdout, ended };
}
