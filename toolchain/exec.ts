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
