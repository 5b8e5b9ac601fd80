import { existsSync, readFileSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Options } from "execa";
import { parse } from "yaml";
import { localEngine } from "../components/host/local-engine";
import { exec } from "../setup/exec";
import { projectRoot } from "../setup/project";
import type { Tools } from "../setup/tools";
import { UserError } from "../setup/user-error";
import { type Backend, backendEnvironment } from "./backend";
import { consequences, type StepEvent } from "./deploy/consequences";
import { explainPassphrase } from "./passphrase";

/** Runs pulumi with the right tools, backend and passphrase. */
export interface Pulumi {
  /**
   * Runs in the foreground, as the user would see it; resolves to the exit code. What a preview, an up or a destroy
   * means for users and their data is said in words at its end.
   *
   * @param variables environment of the program, besides
   */
  run(args: string[], variables?: Record<string, string>): Promise<number>;
  /** Runs silently and returns the standard output. */
  read(args: string[]): Promise<string>;
  /** Runs silently with this standard input. */
  write(args: string[], input: string): Promise<void>;
}

/**
 * Pulumi for this checkout, from the tools that set-up has found or made.
 *
 * @param backend where the state is
 */
export function pulumiWith(tools: Tools, backend: Backend): Pulumi {
  const environment = {
    ...tools.env,
    ...backendEnvironment(process.env, backend),
    // One engine for the docker client and the provider, which prefers a context to the host it is given.
    ...{ DOCKER_HOST: localEngine(), DOCKER_CONTEXT: "" },
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
    const stack = args[args.indexOf("--stack") + 1] ?? "";
    if (/incorrect passphrase|passphrase must be set/.test(String(stderr)))
      throw new UserError(explainPassphrase(stack, saltOf(stack)));
    throw new UserError(`pulumi ${args[0]} failed: ${String(stderr || stdout).trim()}`);
  }
  return {
    async run([command = "", ...args], variables) {
      const run = (flags: string[], env: Record<string, string>) =>
        exec(`${tools.binDir}/pulumi`, [command, ...flags, ...args], {
          ...{ cwd: projectRoot, env: { ...environment, ...variables, ...env } },
          stdio: "inherit",
          reject: false,
        });
      if (!["preview", "up", "update", "destroy"].includes(command)) return (await run([], {})).exitCode ?? 1;
      const folder = await mkdtemp(join(tmpdir(), "microsandbox-events-"));
      try {
        const log = join(folder, "events");
        // A flag for programs: without the variable pulumi does not know it.
        const { exitCode } = await run(["--event-log", log], { PULUMI_DEBUG_COMMANDS: "true" });
        sayConsequences(command, await readFile(log, "utf8").catch(() => ""));
        return exitCode ?? 1;
      } finally {
        await rm(folder, { recursive: true });
      }
    },
    async read(args) {
      return quietly(args, { ...options, stdin: "ignore" });
    },
    async write(args, input) {
      await quietly(args, { ...options, input });
    },
  };
}

/** What tells the passphrase of a stack from others. It is no setting, and Pulumi has no command for it. */
export function saltOf(stack: string): string {
  const file = join(projectRoot, `Pulumi.${stack.split("/").pop()}.yaml`);
  return (existsSync(file) && parse(readFileSync(file, "utf8"))?.encryptionsalt) || "";
}

/** @param log the event log, one JSON object a line; the last one may be cut off */
function sayConsequences(command: string, log: string): void {
  const lines = log
    .slice(0, log.lastIndexOf("\n") + 1)
    .split("\n")
    .filter(Boolean);
  const sentences = consequences(lines.map((line): StepEvent => JSON.parse(line)));
  if (sentences.length === 0) return;
  console.error(`\nIn words, ${command === "preview" ? "what an up would do" : "what this run had to do"}:`);
  for (const each of sentences) console.error(`  - ${each}`);
}
