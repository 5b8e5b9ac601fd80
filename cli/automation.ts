import { dirname } from "node:path";
import type { EngineEvent, Stack } from "@pulumi/pulumi/automation/index.js";
import { projectRoot } from "../setup/project";
import type { Reporter } from "../setup/report";
import type { Tools } from "../setup/tools";
import { UserError } from "../setup/user-error";
import { consequences, type StepEvent } from "./deploy/consequences";
import { Progress, type ProgressEvent } from "./deploy/progress";

/** What a run came to. */
export interface Ended {
  ok: boolean;
  /** What the user of the service would notice, in words. */
  words: string[];
  /** How many resources a run changes, or would. */
  changes: number;
}

/** What a run is told, besides Pulumi's own defaults. */
export interface RunOptions {
  /** URNs to leave alone. */
  exclude?: string[];
  /** URNs to make again. */
  replace?: string[];
  /** What fails is no reason to leave the rest as it is. */
  continueOnError?: boolean;
}

/** A stack, deployed through Pulumi's Automation API with this project's pulumi. */
export interface Automation {
  /** Asks what an up would do. @param isShown whether Pulumi's lines are printed; else only those of a failure */
  preview(options: RunOptions, isShown: boolean): Promise<Ended>;
  /** Refreshes and updates, with Pulumi's lines and what takes its time. */
  up(options: RunOptions): Promise<Ended>;
  destroy(options: RunOptions): Promise<Ended>;
}

/**
 * Opens a stack for runs; it is made and selected where it is not yet. The API is loaded here and not before: it takes a
 * second, which commands that only ask have no use for.
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
  const options = { pulumiCommand, envVars: environment };
  const stack = await LocalWorkspace.createOrSelectStack({ stackName, workDir: projectRoot }, options).catch(
    (error: Error) => {
      const said = /^\s*error: (.+)$/m.exec(error.message)?.[1] ?? error.message.split("\n")[0];
      throw new UserError(`The stack ${stackName} can't be opened: ${said}`);
    },
  );
  const color = process.stdout.isTTY ? "always" : "never";
  const lines = {
    color,
    suppressProgress: true,
    onOutput: (text: string) => void process.stdout.write(text),
    onError: (text: string) => void process.stderr.write(text),
  } as const;
  return {
    preview: (run, isShown) => {
      const how = isShown ? lines : ({ color: "never" } as const);
      return watch((onEvent) => stack.preview({ ...run, ...how, refresh: true, onEvent }), report, !isShown);
    },
    up: (run) => watch((onEvent) => stack.up({ ...run, ...lines, refresh: true, onEvent }), report),
    destroy: (run) => watch((onEvent) => stack.destroy({ ...run, ...lines, onEvent }), report),
  };
}

type Run = (onEvent: (event: EngineEvent) => void) => ReturnType<Stack["up" | "preview" | "destroy"]>;

/** @param isQuiet whether what Pulumi prints is shown where the run fails alone */
async function watch(run: Run, report: Reporter, isQuiet = false): Promise<Ended> {
  const events: (StepEvent & ProgressEvent)[] = [];
  const progress = new Progress(report.say);
  // Ctrl+C reaches pulumi too, which ends in good order by itself; a second signal from here would cut that short.
  const stay = () => {};
  process.on("SIGINT", stay).on("SIGTERM", stay);
  try {
    await run((event) => {
      // The API's type leaves open what the engine says of a resource; consequences.ts names the parts that are read.
      const known = event as unknown as StepEvent & ProgressEvent;
      events.push(known);
      progress.take(known);
    });
    return { ok: true, ...sumUp(events) };
  } catch (error) {
    if (isQuiet || !(await isOfTheRun(error))) report.say(textOf(error));
    return { ok: false, ...sumUp(events) };
  } finally {
    progress.end();
    process.off("SIGINT", stay).off("SIGTERM", stay);
  }
}

/** Whether pulumi ran and said by itself why it failed. */
async function isOfTheRun(error: unknown): Promise<boolean> {
  const { CommandError } = await import("@pulumi/pulumi/automation/errors.js");
  return error instanceof CommandError && !/^code: -2$/m.test(error.message);
}

const textOf = (error: unknown) => (error instanceof Error ? error.message.trim() : String(error));

const UNCHANGED = ["same", "refresh", "read", "read-discard"];

/** What the steps of a run come to. */
export function sumUp(events: readonly StepEvent[]): Omit<Ended, "ok"> {
  const steps = events.flatMap(({ resourcePreEvent }) => resourcePreEvent?.metadata ?? []);
  const changed = steps.filter(({ op }) => !UNCHANGED.includes(op));
  return {
    words: consequences(events),
    changes: new Set(changed.map(({ urn }) => urn)).size,
  };
}

/** Prints what users of the service notice of a run. @param what @example "what an up would do" */
export function sayWords(what: string, { words }: Ended, report: Reporter): void {
  if (words.length === 0) return;
  report.say(`\nIn words, ${what}:`);
  for (const each of words) report.say(`  - ${each}`);
}
