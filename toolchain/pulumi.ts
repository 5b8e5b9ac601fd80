import type { Options } from "execa";
import { backendEnvironment, projectRoot } from "./backend";
import { exec } from "./exec";
import type { Tools } from "./tools";
import { UserError } from "./user-error";

/** Runs pulumi with the right tools, backend and passphrase. */
export interface Pulumi {
  /** Runs in the foreground, as the user would see it; resolves to the exit code. */
  run(args: string[]): Promise<number>;
  /** Runs silently and returns the standard output. */
  read(args: string[]): Promise<string>;
  /** Runs silently with this standard input. */
  write(args: string[], input: string): Promise<void>;
}

/** Pulumi for this checkout, from the tools that set-up has found or made. */
export function pulumiWith(tools: Tools): Pulumi {
  // The Docker provider prefers a context to the host it is given.
  const environment = {
    ...tools.env,
    ...backendEnvironment(),
    DOCKER_CONTEXT: "",
    // Pulumi and its plugins are short-lived Go programs: fewer collections save a tenth of an `up`, for a few megabytes.
    GOGC: process.env.GOGC ?? "400",
  };
  const options = { cwd: projectRoot, env: environment } satisfies Options;
  async function quietly(args: string[], how: Options): Promise<string> {
    const { exitCode, stdout, stderr } = await exec(`${tools.binDir}/pulumi`, args, {
      ...how,
      reject: false,
    });
    if (exitCode === 0) return String(stdout);
    throw new UserError(`pulumi ${args[0]} failed: ${String(stderr || stdout).trim()}`);
  }
  return {
    async run(args) {
      const { exitCode } = await exec(`${tools.binDir}/pulumi`, args, {
        ...options,
        stdio: "inherit",
        reject: false,
      });
      return exitCode ?? 1;
    },
    async read(args) {
      return quietly(args, { ...options, stdin: "ignore" });
    },
    async write(args, input) {
      await quietly(args, { ...options, input });
    },
  };
}
