import { randomBytes } from "node:crypto";
import { type Changes, diffInputs } from "./diff";
import { type CommandInputs, checkInvoke, inputsOf, readCommand } from "./inputs";
import { containsUnknown, type Properties, type Property, reveal, UNKNOWN } from "./properties";
import { redactor } from "./redact";
import { type RunOutputs, run } from "./run";

/** What the engine wants done, and how it can be stopped and watched. */
export interface Operation {
  urn: string;
  preview: boolean;
  signal: AbortSignal;
  log: (line: string) => void;
}

/** Makes a new resource: its id and its state. In a preview nothing runs, and what it would print is unknown. */
export async function createCommand(inputs: Properties, operation: Operation) {
  const command = inputs.create;
  if (operation.preview) return { id: "", state: { ...inputs, ...previewOutputs(command) } };
  const id = nameOf(operation.urn) + randomBytes(4).toString("hex");
  const outputs = await runStep(command, inputs, {}, operation);
  return { id, state: { ...inputs, ...(outputs ?? { stdout: "", stderr: "" }) } };
}

/** Runs `update`, or `create` where there is none; with neither, only the state changes. */
export async function updateCommand(state: Properties, inputs: Properties, operation: Operation) {
  const command = inputs.update ?? inputs.create;
  const carried = outputsOf(state);
  if (operation.preview) return { ...inputs, ...carried, ...previewOutputs(command, carried) };
  return { ...inputs, ...carried, ...(await runStep(command, inputs, carried, operation)) };
}

/** Runs `delete` as it was when the resource was last made or updated. */
export async function deleteCommand(state: Properties, operation: Operation): Promise<void> {
  await runStep(state.delete, state, outputsOf(state), operation);
}

/** Compares what a resource was made with to what the program asks for now. */
export function diffCommand(
  oldInputs: Properties | undefined,
  state: Properties,
  news: Properties,
  ignored: readonly string[],
): Changes {
  const wanted = { ...news };
  for (const key of ignored) if (state[key] !== undefined) wanted[key] = state[key];
  for (const key of Object.keys(wanted)) if (key === "version" || key.startsWith("__")) delete wanted[key];
  return diffInputs(oldInputs ?? inputsOf(state), wanted);
}

/** Runs a command at once, in a preview too; its arguments come back beside its outputs. */
export async function invokeRun(args: Properties, operation: Operation) {
  const failures = checkInvoke(args);
  if (failures.length > 0) return { failures };
  if (containsUnknown(args)) return { result: { ...args, ...previewOutputs(args.command) } };
  return { result: { ...args, ...(await runStep(args.command, args, {}, operation)) } };
}

async function runStep(
  command: Property | undefined,
  properties: Properties,
  previous: Properties,
  { signal, log }: Operation,
): Promise<RunOutputs | undefined> {
  if (command === undefined) return undefined;
  const inputs: CommandInputs = readCommand(properties);
  return run(text(command), inputs, {
    previous: { stdout: text(previous.stdout), stderr: text(previous.stderr) },
    signal,
    log,
    redact: redactor(properties),
  });
}

/** Everything that a command would print anew, as unknown; nothing where no command would run. */
function previewOutputs(command: Property | undefined, carried: Properties = {}): Properties {
  if (command === undefined) return Object.keys(carried).length > 0 ? {} : { stdout: "", stderr: "" };
  const names = new Set(["stdout", "stderr", ...Object.keys(carried)]);
  return Object.fromEntries([...names].map((name) => [name, UNKNOWN]));
}

function outputsOf({ stdout, stderr }: Properties): Properties {
  return { stdout: stdout ?? "", stderr: stderr ?? "" };
}

function text(value: Property | undefined): string {
  const plain = reveal(value ?? "");
  return typeof plain === "string" ? plain : "";
}

/** The resource's own name, the last part of its URN. */
function nameOf(urn: string): string {
  return urn.split("::").slice(3).join("::");
}
