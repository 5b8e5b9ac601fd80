import type { Options } from "execa";
import { localEngine } from "../components/host/local-engine";
import { projectRoot } from "../setup/project";
import type { Reporter } from "../setup/report";
import type { Tools } from "../setup/tools";
import { UserError } from "../setup/user-error";
import { type Backend, backendEnvironment } from "./backend";
import { explainPassphrase } from "./passphrase";
import { runPulumi } from "./pulumi-process";

/** Runs pulumi with the right tools, backend and passphrase. */
export interface Pulumi {
  /** Environment of every pulumi process. */
  environment: Record<string, string>;
  /** Runs in the foreground, as the user would see it; resolves to the exit code. */
  run(args: string[]): Promise<number>;
  /** Runs silently and returns the standard output. */
  read(args: string[], variables?: Record<string, string>): Promise<string>;
  /** Runs silently with this standard input. */
  write(args: string[], input: string): Promise<void>;
}

/** The command without its options. @example "stack output" */
function commandOf(args: readonly string[]): string {
  const end = args.findIndex((word) => word.startsWith("-"));
  return args.slice(0, Math.min(end < 0 ? args.length : end, 2)).join(" ");
}

/**
 * Whether a command of pulumi has failed because its backend has no stack of this name. After any other failure, there may
 * be one: a backend that does not answer is no answer.
 */
export const saysNoStack = (error: unknown): boolean =>
  // The second: a backend that is no cloud, asked for a stack of an organization.
  /no stack named|organization name must be/.test(String(error));

/** The words of an error. */
export const reasonOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

/**
 * Pulumi for this checkout, from the tools that set-up has found or made.
 *
 * @param backend where the state is
 * @param report says which command is waited for, where a silent one takes its time
 */
export function pulumiWith(tools: Tools, backend: Backend, report: Reporter): Pulumi {
  const environment: Record<string, string> = {
    ...tools.env,
    ...backendEnvironment(process.env, backend),
    // One engine for the docker client and the provider, which prefers a context to the host it is given.
    ...{ DOCKER_HOST: localEngine(), DOCKER_CONTEXT: "" },
    // Pulumi and its plugins are short-lived Go programs: fewer collections save a tenth of an `up`, for a few megabytes.
    GOGC: process.env.GOGC ?? "400",
  };
  const options = { cwd: projectRoot, env: environment } satisfies Options;
  async function quietly(args: string[], how: Options): Promise<string> {
    const run = () => runPulumi(`${tools.binDir}/pulumi`, args, how);
    const { exitCode, stdout, stderr, interrupted } = await report.wait(
      `waiting for Pulumi (${commandOf(args)})`,
      run,
    );
    // Done or not: what was to come after it is not begun.
    if (interrupted) throw new UserError("Interrupted.");
    if (exitCode === 0) return stdout;
    // As in `--stack NAME`, or in `stack init NAME`.
    const stack = args[args.indexOf("--stack") + 1 || 2] ?? "";
    if (/incorrect passphrase|passphrase must be set/.test(stderr))
      throw new UserError(explainPassphrase(stack, stderr));
    throw new UserError(`pulumi ${args[0]} failed: ${(stderr || stdout).trim()}`);
  }
  return {
    environment,
    async run(args) {
      const { exitCode } = await runPulumi(`${tools.binDir}/pulumi`, args, { ...options, stdio: "inherit" });
      return exitCode;
    },
    async read(args, variables) {
      return quietly(args, { ...options, env: { ...environment, ...variables }, stdin: "ignore" });
    },
    async write(args, input) {
      await quietly(args, { ...options, input });
    },
  };
}
