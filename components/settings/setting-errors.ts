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
  /** What fixes it. None of it removes more than what is wrong. */
  fix: Fix[];
}

/** A setting to set (in the text form of Pulumi's configuration) or, with nothing but its key, to remove. */
export interface Fix {
  key: string;
  value?: string;
  /** The key is a path into an object. */
  path?: boolean;
  /** The user gives the value, which only the user knows; `secret` if it is to be encrypted. */
  ask?: "plain" | "secret";
  /** The setting stays; this part of it has to be corrected in a text editor. */
  correct?: string;
  /** What to do with the setting where it is stored, as no command does it. */
  edit?: string;
  /** What to do by hand before an `up`, as no setting is wrong. @example "put a certificate into /etc/server.pem" */
  todo?: string;
  /** A file of the user's whose text is the value; encrypted if `ask` is `secret`. */
  from?: string;
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
  return {
    key,
    problem: "is not a setting",
    accepted: near ? `${near} (the closest name)` : `one of ${known.join(", ")}`,
    fix: renameTo(near !== undefined && taken.includes(near) ? undefined : near),
  };

  function renameTo(name: string | undefined): Fix[] {
    if (name === undefined) return [{ key }];
    // A value that can't be typed here is lost if the misspelt setting is removed.
    if (value === undefined || value.length > 200) return [{ key, edit: `rename ${key} to ${name}` }];
    return [{ key: name, value }, { key }];
  }
}

/** The path of a part of a setting, for `pulumi config --path`: `tls.names[0]`, `registries.mirrors["docker.io"]`. */
export function pathTo(key: string, parts: readonly PropertyKey[]): string {
  return parts.reduce<string>((path, part) => {
    if (typeof part === "number") return `${path}[${part}]`;
    const name = String(part);
    return /^[\w-]+$/.test(name) ? `${path}.${name}` : `${path}["${name.replace(/["\\]/g, "\\$&")}"]`;
  }, key);
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

/** The commands, or arguments, that fix one; first what is to be done by hand. */
export function fixLines({ fix }: SettingError, style: FixStyle): string {
  const todos = fix.flatMap(({ todo }) => todo ?? []);
  const commands = fix.filter(({ todo }) => todo === undefined).map((each) => fixLine(each, style));
  const lines = commands.join(" && ");
  if (todos.length === 0) return lines;
  const first = todos.join(", ");
  return lines === "" ? `${first}, then: pulumi up` : `${first}, then: ${lines} && pulumi up`;
}

function fixLine(fix: Fix, style: FixStyle): string {
  if (style.source === "code") return inCode(fix);
  if (fix.edit) return `${fix.edit} in Pulumi.${style.stack?.split("/").at(-1) ?? "<stack>"}.yaml`;
  const stack = style.stack ? ` --stack ${shellQuote(style.stack)}` : "";
  const line = (words: string[]) => `pulumi config ${words.map(shellQuote).join(" ")}${stack}`;
  const key = `${NAMESPACE}:${fix.key}`;
  const path = fix.path ? ["--path"] : [];
  if (fix.correct !== undefined) {
    const file = `${fix.key.replace(/\W+/g, "-")}.json`;
    const [get, set] = [line(["get", ...path, key]), line(["set", "--secret", ...path, key])];
    return `${get} > ${file}, correct ${fix.correct} in it, then: ${set} < ${file} && rm ${file}`;
  }
  if (fix.from && fix.ask === "secret") return `${line(["set", "--secret", ...path, key])} < ${fix.from}`;
  // Pulumi would take a value that begins with a hyphen for an option.
  if (fix.from) return `${line(["set", ...path, key])} "$(printf '\\n'; cat ${fix.from})"`;
  if (fix.ask) return line(["set", ...(fix.ask === "secret" ? ["--secret"] : []), ...path, key]);
  const remove = line(["rm", ...path, key]);
  if (fix.value === undefined) return remove;
  const parts = structureOf(fix.value);
  if (parts === undefined) return line(["set", ...path, key, fix.value]);
  return [remove, ...leaves(key, parts).map((words) => line(["set", "--path", ...words]))].join(" && ");
}

function inCode({ key, value, ask, correct, edit, from }: Fix): string {
  if (edit) return edit;
  if (from) return `${key}: the text of ${from}`;
  if (correct !== undefined) return `correct ${correct} in ${key}`;
  if (ask) return `set ${key}`;
  return value === undefined ? `remove ${key}` : `${key}: ${value}`;
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
  if (Array.isArray(value)) return value.flatMap((item, index) => leaves(pathTo(key, [index]), item));
  if (typeof value === "object" && value !== null)
    return Object.entries(value).flatMap(([name, part]) => leaves(pathTo(key, [name]), part));
  const looksTyped = typeof value === "string" && /^(?:true|false|[+-]?[\d.].*)$/.test(value);
  return [[...(looksTyped ? ["--type", "string"] : []), key, toText(value)]];
}
