import * as z from "zod";
import { settingMeta } from "./fields";
import { type StackSettings, settingsSchema } from "./schema";
import { pathTo, type SettingError, show, toText, unknownKey } from "./setting-errors";
import { fieldOf, fieldsOf, fromText, isList, isObject, isStructured, type StructuredKey } from "./text-form";
import { nearest } from "./values";

type Key = keyof StackSettings;
const shape = settingsSchema.shape;

/** A setting's default as it is typed; undefined where it has none. */
export function defaultText(schema: z.core.$ZodType): string | undefined {
  return schema instanceof z.ZodPrefault ? toText(schema.def.defaultValue) : undefined;
}

/** The parts of settings that hold passwords and private keys: never shown, however they are stored. */
const SECRET_PARTS = ["logins", "key"];

/** What is wrong with one setting: an error for each wrong part of it. */
export function fieldErrors(
  key: Key,
  value: unknown,
  issues: z.core.$ZodIssue[],
  secret: boolean,
): SettingError[] {
  const isHidden = secret || mayHoldSecret(key, value);
  const whole = key === "keys" || key === "hosts" || isHidden ? undefined : fixOfWhole(key, value);
  const errors = new Map<string, SettingError>();
  // The last entry of a list first: once it is removed, those before it are where they were.
  for (const issue of whole ? issues : issues.toReversed()) {
    const meta = settingMeta.get(fieldOf(key, String(issue.path[0])) ?? shape[key]);
    if (issue.code === "unrecognized_keys") {
      const fields = Object.keys(fieldsOf(key));
      for (const name of issue.keys) {
        const path = [...issue.path, name];
        const isField = issue.path.length === 0;
        const taken = isObject(value) ? Object.keys(value) : [];
        const { problem, accepted, fix } = unknownKey(name, undefined, fields, isField ? taken : fields);
        errors.set(path.join("."), {
          key: [key, ...path].join("."),
          problem,
          accepted: isField ? accepted : (meta?.accepts ?? accepted),
          fix:
            whole ??
            (isField && fix[0]?.edit
              ? [{ key, edit: `${fix[0].edit} in ${key}` }]
              : fixOfPart(key, path, value)),
        });
      }
      continue;
    }
    const part = issue.path[0];
    const isSecret = part === undefined ? isHidden : secret || SECRET_PARTS.includes(String(part));
    errors.set(issue.path.join("."), {
      key: [key, ...issue.path].join("."),
      problem: isSecret
        ? `has a secret value that is not accepted${isStructured(key) ? reasonOf(issue) : ""}`
        : `is ${show(at(value, issue.path))}${reasonOf(issue)}`,
      accepted: meta?.accepts ?? "",
      fix: whole ?? fixOfPart(key, issue.path, value),
    });
  }
  return [...errors.values()];
}

/** Whether there may be a secret in it; in JSON text that can't be read it may be anywhere. */
function mayHoldSecret(key: Key, value: unknown): boolean {
  if (typeof value === "string" && key === "hosts") return true;
  const fields = Object.keys(fieldsOf(key));
  const given = isObject(value) ? Object.keys(value).map((name) => nearest(name, fields)) : fields;
  return SECRET_PARTS.some((part) => given.includes(part));
}

/** What the setting itself says of a wrong value. */
function reasonOf({ code, message }: z.core.$ZodIssue): string {
  const isOwn = code === "custom" || code === "invalid_format";
  return isOwn && !message.startsWith("Invalid ") ? ` (${message})` : "";
}

function at(value: unknown, path: PropertyKey[]): unknown {
  return path.reduce((inner: unknown, name) => (isObject(inner) ? inner[name] : undefined), value);
}

/**
 * The value that the user probably meant, or else the default; with no default, the setting is removed. Undefined where
 * that would take more away than what is wrong.
 */
function fixOfWhole(key: Key, value: unknown): SettingError["fix"] | undefined {
  const accepts = (text: string | undefined) =>
    text !== undefined && text.length <= 200 && shape[key].safeParse(fromText(key, text)).success;
  const given = isList(key) && !isObject(value) ? [value] : value;
  if (isStructured(key) && isObject(given)) {
    const text = toText(goodParts(key, given));
    return accepts(text) ? [{ key, value: text }] : undefined;
  }
  const suggested = settingMeta.get(shape[key])?.suggest?.(toText(value));
  const text = [suggested, defaultText(shape[key])].find(accepts);
  return [text === undefined ? { key } : { key, value: text }];
}

/** The fix of one part alone: for what can't be shown, or is too long to be typed anew. */
function fixOfPart(key: Key, path: PropertyKey[], value: unknown): SettingError["fix"] {
  if (key !== "hosts" && !isStructured(key)) {
    const text = defaultText(shape[key]);
    return [text === undefined ? { key } : { key, value: text }];
  }
  // Of a key the server's side is its hash alone: what is removed can't be made again.
  if (key === "keys" || path.length === 0)
    return [{ key, correct: path.length === 0 ? "the JSON text" : pathTo("", path).replace(/^\./, "") }];
  const part = { key: pathTo(key, path), path: true };
  const isMissing = at(value, path) === undefined && isObject(at(value, path.slice(0, -1)));
  return [isMissing ? { ...part, ask: path.at(-1) === "password" ? "secret" : "plain" } : part];
}

/** A list or an object without its wrong parts; a misspelt field gets its right name. */
function goodParts(key: StructuredKey, value: object): unknown {
  const names = Object.keys(fieldsOf(key));
  const isGood = (part: unknown) => shape[key].safeParse(part).success;
  if (names.length === 0 || Array.isArray(value)) return without(value, isGood);
  const named = Object.entries(value).flatMap(([given, part]) => {
    const name = names.includes(given) ? given : nearest(given, names);
    const isTaken = name === undefined || (name !== given && Object.hasOwn(value, name));
    return isTaken || SECRET_PARTS.includes(name) ? [] : [[name, part]];
  });
  return without(Object.fromEntries(named), isGood);
}

/** What is left of a value without what is wrong in it; of a list, without the entries that are. */
function without(value: unknown, isGood: (value: unknown) => boolean): unknown {
  if (isGood(value)) return value;
  if (Array.isArray(value)) {
    const kept: unknown[] = [];
    for (const item of value) if (isGood([...kept, item])) kept.push(item);
    return kept;
  }
  if (!isObject(value)) return undefined;
  const kept: Record<string, unknown> = {};
  for (const [name, part] of Object.entries(value)) {
    const left = without(part, (good) => isGood({ ...kept, [name]: good }));
    if (left !== undefined && isGood({ ...kept, [name]: left })) kept[name] = left;
  }
  return kept;
}
