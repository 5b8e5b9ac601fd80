import { isObject, isUnknown, type Properties, type Property, reveal } from "./properties";

/** A plain table instead of zod: the plugin starts at every `pulumi up`, and a schema library doubles that. */
const runSettings = {
  stdin: "text",
  logging: "logging",
  interpreter: "texts",
  dir: "text",
  environment: "textMap",
  addPreviousOutputInEnv: "boolean",
} as const;
const commandSettings = {
  triggers: "list",
  create: "text",
  update: "text",
  delete: "text",
  ...runSettings,
} as const;
const invokeSettings = { command: "text", ...runSettings } as const;

interface Kinds {
  text: string;
  texts: string[];
  textMap: Record<string, string>;
  boolean: boolean;
  list: Property[];
  logging: "stdout" | "stderr" | "stdoutAndStderr" | "none";
}
type Settings = Record<string, keyof Kinds>;
type Values<T extends Settings> = { [K in keyof T]?: Kinds[T[K]] };

/** Inputs of `command:local:Command`, with no secret markers. */
export type CommandInputs = Values<typeof commandSettings>;
/** The inputs that say how any command is run. */
export type RunInputs = Values<typeof runSettings>;

/** One input that the engine should report as wrong. */
export interface Failure {
  property: string;
  reason: string;
}

const LOGGING = ["stdout", "stderr", "stdoutAndStderr", "none"];
const expectations: Record<keyof Kinds, [label: string, fits: (value: Property) => boolean]> = {
  text: ["a string", isText],
  texts: ["a list of strings", (value) => Array.isArray(value) && value.every(isText)],
  textMap: ["a map of strings", (value) => isObject(value) && Object.values(value).every(isText)],
  boolean: ["true or false", (value) => typeof value === "boolean"],
  list: ["a list", Array.isArray],
  logging: [`one of ${LOGGING.join(", ")}`, (value) => typeof value === "string" && LOGGING.includes(value)],
};

function isText(value: Property): boolean {
  return typeof value === "string";
}

/** Finds what is wrong with a resource's inputs; an unknown value always passes. */
export function checkCommand(inputs: Properties): Failure[] {
  return check(inputs, commandSettings);
}

/** Finds what is wrong with the arguments of `command:local:run`. */
export function checkInvoke(inputs: Properties): Failure[] {
  const failures = check(inputs, invokeSettings);
  if (inputs.command === undefined) failures.push({ property: "command", reason: "is missing" });
  return failures;
}

function check(inputs: Properties, settings: Settings): Failure[] {
  return Object.entries(inputs).flatMap(([property, value]) => {
    const kind = settings[property];
    if (property.startsWith("__")) return []; // the engine's own
    if (!kind) return [{ property, reason: `is not known; known are ${Object.keys(settings).join(", ")}` }];
    const [expected, fits] = expectations[kind];
    const plain = reveal(value);
    return isUnknown(plain) || fits(plain) ? [] : [{ property, reason: `must be ${expected}` }];
  });
}

/** Checked inputs (or a state made from them), typed and with no secret markers; other properties are left out. */
export function readCommand(properties: Properties): CommandInputs {
  const known = Object.entries(properties).filter(([key]) => key in commandSettings);
  return reveal(Object.fromEntries(known)) as CommandInputs;
}

/** The part of a state that mirrors the inputs, for an engine that doesn't send the old inputs. */
export function inputsOf(state: Properties): Properties {
  return Object.fromEntries(Object.entries(state).filter(([key]) => key in commandSettings));
}
