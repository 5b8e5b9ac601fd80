import { dirname } from "node:path";
import type { EngineEvent } from "@pulumi/pulumi/automation/index.js";
import { pulumiOutput } from "../components/settings/message-commands";
import { projectRoot } from "../setup/project";
import type { Reporter } from "../setup/report";
import type { Tools } from "../setup/tools";
import { UserError } from "../setup/user-error";
import { consequences, type StepEvent } from "./deploy/consequences";
import { Progress, type ProgressEvent } from "./deploy/progress";
import { onInterruption } from "./interruption";
import { runPulumi } from "./pulumi-process";

/** Result of a run. */
export interface Ended {
  ok: boolean;
  /** Whether Ctrl+C, SIGTERM or SIGHUP came meanwhile: Pulumi may then end without an error, and with work left. */
  interrupted: boolean;
  /** What the user of the service would notice, in words. */
  words: string[];
  /** How many resources a run changes, or would. */
  changes: number;
}

/** Options of a run. */
export interface RunOptions {
  /** URNs to exclude. */
  exclude?: string[];
  /** Go on with other resources after a failure. */
  continueOnError?: boolean;
}

/** A stack, deployed through Pulumi's Automation API with this project's pulumi. */
export interface Automation {
  /** Previews an `up`. @param isShown whether Pulumi's lines are printed; else only those of a failure */
  preview(options: RunOptions, isShown: boolean): Promise<Ended>;
  /** Refreshes and updates, with Pulumi's lines and what takes its time. */
  up(options: RunOptions): Promise<Ended>;
  destroy(options: RunOptions): Promise<Ended>;
}

/**
 * Opens a stack for runs; creates and selects it if necessary. The API is loaded here and not before: that takes a second,
 * which read-only commands need not wait.
 *
 * @param environment of pulumi and of the program
 */
export async function openAutomation(
  stackName: string,
  tools: Tools,
  environment: Record<string, string>,
  report: Reporter,
): Promise<Automation> {
  const [{ LocalWorkspace }, { PulumiCommand }] = await Promise.all([
    import("@pulumi/pulumi/automation/localWorkspace.js"),
    import("@pulumi/pulumi/automation/cmd.js"),
  ]);
  const pulumiCommand = await PulumiCommand.get({ root: dirname(tools.binDir), skipVersionCheck: true });
  endsInGoodOrder(pulumiCommand);
  const options = { pulumiCommand, envVars: environment };
  const stack = await LocalWorkspace.createOrSelectStack({ stackName, workDir: projectRoot }, options).catch(
    (error: Error) => {
      const said = /^\s*error: (.+)$/m.exec(error.message)?.[1] ?? error.message.split("\n")[0];
      throw new UserError(`The stack ${stackName} can't be opened: ${said}`);
    },
  );
  const run = { report, color: process.stdout.isTTY ? "always" : "never" } as const;
  return {
    preview: (options, isShown) =>
      watch(run, isShown, (lines) => stack.preview({ ...options, ...lines, refresh: true })),
    up: (options) => watch(run, true, (lines) => stack.up({ ...options, ...lines, refresh: true })),
    destroy: (options) => watch(run, true, (lines) => stack.destroy({ ...options, ...lines })),
  };
}

/** What Pulumi's API calls to run pulumi: automation/cmd.js of 3.270.0, whose type leaves it out. */
interface Runner {
  command: string;
  run(
    args: string[],
    cwd: string,
    environment: Record<string, string>,
    onOutput?: (text: string) => void,
    onError?: (text: string) => void,
    signal?: AbortSignal,
  ): Promise<{ stdout: string; stderr: string; code: number }>;
}

/**
 * Runs with lines to show, which are those that take their time, end in good order where this process is asked to end. The
 * API starts pulumi as a child that gets what the terminal sends and nothing else: without a terminal, no signal at all.
 */
function endsInGoodOrder(pulumiCommand: unknown): void {
  const runner = pulumiCommand as Runner;
  const byApi = runner.run.bind(runner);
  runner.run = async (args, cwd, environment, onOutput, onError, signal) => {
    if (!onOutput) return byApi(args, cwd, environment, onOutput, onError, signal);
    const env = { ...environment, PULUMI_AUTOMATION_API: "true" };
    const words = [...args, "--non-interactive"];
    const ended = await runPulumi(runner.command, words, { cwd, env, stdin: "ignore" }, (child) => {
      child.stdout?.on("data", (data) => onOutput(String(data)));
      child.stderr?.on("data", (data) => onError?.(String(data)));
    });
    const { stdout, stderr, exitCode: code } = ended;
    if (code !== 0) throw new Error(`Command failed with exit code ${code}: pulumi ${args[0]}\n${stderr}`);
    return { stdout, stderr, code };
  };
}

interface Lines {
  color: "always" | "never";
  suppressProgress: true;
  onOutput(text: string): void;
  onError(text: string): void;
  onEvent(event: EngineEvent): void;
}

/**
 * Runs Pulumi and takes down what it does.
 *
 * @param isShown whether what Pulumi prints is shown as it comes; else only once the run has failed
 */
export async function watch(
  { report, color }: { report: Reporter; color: Lines["color"] },
  isShown: boolean,
  run: (lines: Lines) => Promise<unknown>,
): Promise<Ended> {
  const events: (StepEvent & ProgressEvent)[] = [];
  const progress = new Progress(report.say);
  let held = "";
  const show = (stream: NodeJS.WriteStream) => (text: string) => {
    if (isShown) stream.write(pulumiOutput(text));
    else held += pulumiOutput(text);
  };
  let interrupted = false;
  const end = onInterruption(() => {
    interrupted = true;
  });
  try {
    await run({
      ...{ color, suppressProgress: true },
      ...{ onOutput: show(process.stdout), onError: show(process.stderr) },
      onEvent(event) {
        // The API's type leaves open what the engine says of a resource; consequences.ts names the parts that are read.
        const known = event as unknown as StepEvent & ProgressEvent;
        events.push(known);
        progress.take(known);
      },
    });
    return { ok: true, interrupted, ...sumUp(events) };
  } catch (error) {
    process.stderr.write(held);
    if (!pulumiEnded(error)) report.say(error instanceof Error ? error.message.trim() : String(error));
    return { ok: false, interrupted, ...sumUp(events) };
  } finally {
    progress.end();
    end();
  }
}

/**
 * Whether pulumi ran and said by itself why it failed. The API's own message has the whole output twice more
 * (automation/cmd.js of 3.270.0 takes every exit code for an unknown error).
 */
function pulumiEnded(error: unknown): boolean {
  return error instanceof Error && /Command (failed with exit code|was killed with) /.test(error.message);
}

const UNCHANGED = ["same", "refresh", "read", "read-discard"];

/** Counts the changes of a run. */
export function sumUp(events: readonly StepEvent[]): Omit<Ended, "ok" | "interrupted"> {
  const steps = events.flatMap(({ resourcePreEvent }) => resourcePreEvent?.metadata ?? []);
  const changed = steps.filter(({ op }) => !UNCHANGED.includes(op));
  return {
    words: consequences(events),
    changes: new Set(changed.map(({ urn }) => urn)).size,
  };
}

/** Prints what users of the service notice of a run. @param what @example "What an up would do" */
export function sayWords(what: string, { words }: Pick<Ended, "words">, report: Reporter): void {
  if (words.length === 0) return;
  report.say(`\n${what}, in plain words:`);
  for (const each of words) report.say(`  - ${each}`);
}
