import { NAMESPACE } from "./schema";
import { shellQuote } from "./shell";
import { nearest } from "./values";

/** One thing that is wrong with the settings, and what fixes it. */
export interface SettingError {
  /** The setting, `volumes.keep` for one inside another. */
  key: string;
  /** What is wrong with it: the rest of a sentence that begins with the key. */
  problem: string;
  /** What would be right. */
  accepted: string;
  /** Settings to set (in the text form of Pulumi's configuration) or, without a value, to remove. */
  fix: Fix[];
}

interface Fix {
  key: string;
  value?: string;
  /** The key is a path into an object. */
  path?: boolean;
}

/** How the lines that fix a setting are written. */
export interface FixStyle {
  /** `stack`: `config set` lines. `code`: arguments of the component. Default: `stack`. */
  source?: "stack" | "code";
  /** Name of the stack, to be named in the `config set` lines. Default: the selected one. */
  stack?: string;
}

/** A value as an error message shows it: short, on one line. */
export function show(value: unknown): string {
  if (value === undefined) return "missing";
  const line = toText(value).replace(/\p{C}+/gu, " ");
  const short = line.length > 80 ? `${line.slice(0, 79)}…` : line;
  return typeof value === "string" ? `"${short}"` : short;
}

/** A value as text, as in Pulumi's configuration: text or JSON. A program may pass a value that is neither. */
export function toText(value: unknown): string {
  if (typeof value === "string") return value;
  try {
    return JSON.stringify(value) ?? `a ${typeof value}`;
  } catch {
    return `a ${typeof value}`;
  }
}

/**
 * The error of a key that is no setting. The nearest one takes its value over, unless it has one or can't have that one.
 *
 * @param value the value to show in the line that fixes it; undefined where it must not be shown
 * @param taken those that don't take the value over
 */
export function unknownKey(
  key: string,
  value: string | undefined,
  known: readonly string[],
  taken: readonly string[],
): SettingError {
  const near = nearest(key, known);
  const takesOver = near !== undefined && !taken.includes(near) && value !== undefined && value.length <= 200;
  return {
    key,
    problem: "is not a setting",
    accepted: near ? `${near} (the closest name)` : `one of ${known.join(", ")}`,
    fix: takesOver ? [{ key: near, value }, { key }] : [{ key }],
  };
}

/** All errors as one message; a line to type follows each of them. */
export function explainErrors(errors: readonly SettingError[], style: FixStyle = {}): string {
  const count = errors.length === 1 ? "1 setting is wrong" : `${errors.length} settings are wrong`;
  const blocks = errors.map(
    (error) =>
      `  ${NAMESPACE}:${error.key} ${error.problem}\n` +
      `    accepted: ${error.accepted}\n` +
      `    fix:      ${fixLines(error, style)}`,
  );
  return `${count}; no host was changed.\n\n${blocks.join("\n\n")}\n`;
}

/** The commands, or arguments, that fix one. */
export const fixLines = ({ fix }: SettingError, style: FixStyle): string =>
  fix.map((each) => fixLine(each, style)).join(" && ");

function fixLine(fix: Fix, style: FixStyle): string {
  if (style.source === "code")
    return fix.value === undefined ? `remove ${fix.key}` : `${fix.key}: ${fix.value}`;
  const stack = style.stack ? ` --stack ${shellQuote(style.stack)}` : "";
  const line = (words: string[]) => `pulumi config ${words.map(shellQuote).join(" ")}${stack}`;
  const key = `${NAMESPACE}:${fix.key}`;
  const path = fix.path ? ["--path"] : [];
  const remove = line(["rm", ...path, key]);
  if (fix.value === undefined) return remove;
  const parts = structureOf(fix.value);
  if (parts === undefined) return line(["set", ...path, key, fix.value]);
  return [remove, ...leaves(key, parts).map((words) => line(["set", "--path", ...words]))].join(" && ");
}

/** A list or an object. Never written as its JSON text: a later `--path` would replace all of it by one field. */
function structureOf(text: string): object | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? value : undefined;
  } catch {
    return undefined;
  }
}

/** What to set, one by one, for a structure: the path, and the value with its type where Pulumi would take another. */
function leaves(key: string, value: unknown): string[][] {
  if (Array.isArray(value)) return value.flatMap((item, index) => leaves(`${key}[${index}]`, item));
  if (typeof value === "object" && value !== null)
    return Object.entries(value).flatMap(([name, part]) =>
      leaves(/^[\w-]+$/.test(name) ? `${key}.${name}` : `${key}[${JSON.stringify(name)}]`, part),
    );
  const looksTyped = typeof value === "string" && /^(?:true|false|[+-]?[\d.].*)$/.test(value);
  return [[...(looksTyped ? ["--type", "string"] : []), key, toText(value)]];
}
