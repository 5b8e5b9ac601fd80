import * as z from "zod";
import { settingMeta } from "./fields";
import { type StackSettings, settingsSchema } from "./schema";
import { type SettingError, show, toText, unknownKey } from "./setting-errors";
import { fieldOf, fieldsOf, fromText, isList, isObject, isStructured, type StructuredKey } from "./text-form";
import { nearest } from "./values";

type Key = keyof StackSettings;
const shape = settingsSchema.shape;

/** A setting's default as it is typed; undefined where it has none. */
export function defaultText(schema: z.core.$ZodType): string | undefined {
  return schema instanceof z.ZodPrefault ? toText(schema.def.defaultValue) : undefined;
}

/** The parts of settings that hold passwords and private keys: never shown, however they are stored. */
const SECRET_PARTS: PropertyKey[] = ["logins", "key"];

/** What is wrong with one setting: an error for each wrong part of it. */
export function fieldErrors(
  key: Key,
  value: unknown,
  issues: z.core.$ZodIssue[],
  secret: boolean,
): SettingError[] {
  const fix = fixFor(key, secret ? undefined : value);
  const errors = new Map<string, SettingError>();
  for (const issue of issues) {
    const meta = settingMeta.get(fieldOf(key, String(issue.path[0])) ?? shape[key]);
    if (issue.code === "unrecognized_keys") {
      for (const name of issue.keys) {
        const { problem, accepted } = unknownKey(name, undefined, Object.keys(fieldsOf(key)), []);
        const path = [...issue.path, name].join(".");
        const inner = issue.path.length > 0 ? meta?.accepts : undefined;
        errors.set(path, { key: `${key}.${path}`, problem, accepted: inner ?? accepted, fix });
      }
      continue;
    }
    const name = issue.path.join(".");
    const reason = issue.code === "custom" && issue.message !== "Invalid input" ? ` (${issue.message})` : "";
    errors.set(name, {
      key: [key, ...issue.path].join("."),
      problem:
        secret || SECRET_PARTS.includes(issue.path[0] ?? "")
          ? "has a secret value that is not accepted"
          : `is ${show(at(value, issue.path))}${reason}`,
      accepted: meta?.accepts ?? "",
      fix,
    });
  }
  return [...errors.values()];
}

function at(value: unknown, path: PropertyKey[]): unknown {
  return path.reduce((inner: unknown, name) => (isObject(inner) ? inner[name] : undefined), value);
}

/** The value that the user probably meant, or else the default; with no default, the setting is removed. */
function fixFor(key: Key, value: unknown): SettingError["fix"] {
  const accepts = (text: string | undefined) =>
    text !== undefined && text.length <= 200 && shape[key].safeParse(fromText(key, text)).success;
  const suggested = isStructured(key)
    ? fixedParts(key, value)
    : settingMeta.get(shape[key])?.suggest?.(toText(value));
  const text = [suggested, defaultText(shape[key])].find(accepts);
  return [text === undefined ? { key } : { key, value: text }];
}

/** A list or an object without its wrong parts; a misspelt field gets its right name. */
function fixedParts(key: StructuredKey, value: unknown): string | undefined {
  if (isList(key)) {
    const kept: unknown[] = [];
    for (const item of Array.isArray(value) ? value : [value])
      if (shape[key].safeParse([...kept, item]).success) kept.push(item);
    return JSON.stringify(kept);
  }
  if (!isObject(value)) return undefined;
  const names = Object.keys(fieldsOf(key));
  const fixed: Record<string, unknown> = {};
  for (const [given, part] of Object.entries(value)) {
    const name = names.includes(given) ? given : nearest(given, names);
    if (name === undefined || SECRET_PARTS.includes(name) || (name !== given && Object.hasOwn(value, name)))
      continue;
    if (shape[key].safeParse({ [name]: part }).success) fixed[name] = part;
  }
  return JSON.stringify(fixed);
}
