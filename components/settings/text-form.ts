import type * as z from "zod";
import { type StackSettings, settingFields } from "./schema";

type Key = keyof StackSettings;

/** What Pulumi's configuration, which is text, stands for: JSON where the setting is a list or an object. */
export function fromText(key: Key, value: unknown): unknown {
  // YAML's `off` is also its word for false.
  if (key === "kvmCheck" && (value === false || value === "false")) return "off";
  if (key === "hosts") return hostsFromText(value);
  return isStructured(key) ? parsed(value) : value;
}

/** Hosts, each of which may have been set as JSON by itself. */
function hostsFromText(value: unknown): unknown {
  const all = parsed(value);
  if (!isObject(all) || Array.isArray(all)) return all;
  return Object.fromEntries(Object.entries(all).map(([name, own]) => [name, parsed(own)]));
}

/** What JSON stands for; anything else as it is. */
function parsed(value: unknown): unknown {
  if (typeof value !== "string") return value;
  try {
    return JSON.parse(value);
  } catch {
    return value;
  }
}

/** Settings that are lists. */
const lists = ["images", "keys", "egressAllow", "warm"] as const satisfies Key[];
type ListKey = (typeof lists)[number];
type GroupKey = keyof typeof settingFields;
export type StructuredKey = ListKey | GroupKey;

export function isStructured(key: Key): key is StructuredKey {
  return isList(key) || isGroup(key);
}

export function isList(key: Key): key is ListKey {
  return lists.some((list) => list === key);
}

/** Whether a key, of settings or of anything, is that of a setting with fields. */
export function isGroup(key: string): key is GroupKey {
  return Object.hasOwn(settingFields, key);
}

/** The fields of an object among the settings; none for anything else. */
export function fieldsOf(key: Key): Record<string, z.core.$ZodType> {
  return isGroup(key) ? settingFields[key] : {};
}

/** One field of them; a host may be called `constructor`, which every object has. */
export function fieldOf(key: Key, name: string): z.core.$ZodType | undefined {
  const fields = fieldsOf(key);
  return Object.hasOwn(fields, name) ? fields[name] : undefined;
}

export function isObject(value: unknown): value is Record<PropertyKey, unknown> {
  return typeof value === "object" && value !== null;
}
