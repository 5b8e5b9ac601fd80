import { z } from "zod";
import { crossMistakes, registryMistake } from "./cross";
import { settingMeta } from "./fields";
import { type CheckedHosts, checkHosts, DEFAULT_HOST, isHostName } from "./hosts";
import { type Mistake, show, toText, unknownKey } from "./mistakes";
import { registryKeys } from "./registry";
import { type HostSettings, type StackSettings, settingFields, settingsSchema } from "./schema";
import { nearest } from "./values";

type Key = keyof StackSettings;
const shape = settingsSchema.shape;
const keys = Object.keys(shape) as Key[];

/** Either the settings (the stack's own and those of each host), or everything that is wrong with them. */
type Checked =
  | { settings: StackSettings; hosts: Record<string, HostSettings>; mistakes: [] }
  | { settings?: undefined; hosts?: undefined; mistakes: Mistake[] };

/**
 * Checks the settings of a stack.
 *
 * @param raw values by key, without the namespace
 * @param secretKeys keys whose value must not be shown
 */
export function checkSettings(raw: Record<string, unknown>, secretKeys: readonly string[] = []): Checked {
  const { good, mistakes } = checkKeys(raw, secretKeys);
  const lacking = registryMistake(good);
  if (lacking && !mistakes.some(({ key }) => key === lacking.key)) mistakes.push(lacking);
  const overrides = good.hosts ?? {};
  if (Object.keys(overrides).length === 0) {
    mistakes.push(...crossMistakes(good));
    if (mistakes.length > 0) return { mistakes };
    const settings = good as StackSettings;
    return { settings, hosts: { [DEFAULT_HOST]: settings }, mistakes: [] };
  }
  // The stack's own settings are defaults then: whether they go together shows on each host.
  const checked = hostsOf(raw, overrides, secretKeys, mistakes);
  mistakes.push(...checked.mistakes);
  if (mistakes.length > 0) return { mistakes };
  return { settings: good as StackSettings, hosts: checked.hosts, mistakes: [] };
}

/**
 * What can be told of each host without its secrets: a setting that is encrypted or wrong is left out, and whether
 * all of them go together is not asked.
 *
 * @param raw values by key, without the namespace
 */
export function readableHosts(raw: Record<string, unknown>): Record<string, Partial<HostSettings>> {
  const { hosts: _, ...all } = raw;
  const common = withoutSecrets(all);
  const named = Object.entries(checkKeys(raw, []).good.hosts ?? {}).filter(([name]) => isHostName(name));
  const overrides: [string, Record<string, unknown>][] = named.length > 0 ? named : [[DEFAULT_HOST, {}]];
  return Object.fromEntries(
    overrides.map(([name, own]) => [name, checkKeys(mergeOverrides(common, withoutSecrets(own)), []).good]),
  );
}

/** The groups of settings without the fields that are encrypted: a certificate can be read beside its key. */
function withoutSecrets(raw: Record<string, unknown>): Record<string, unknown> {
  const isEncrypted = (value: unknown) => isObject(value) && "secure" in value;
  return Object.fromEntries(
    Object.entries(raw).map(([key, value]) => {
      if (!Object.hasOwn(settingFields, key) || !isObject(value) || isEncrypted(value)) return [key, value];
      return [key, Object.fromEntries(Object.entries(value).filter(([, part]) => !isEncrypted(part)))];
    }),
  );
}

/** Each setting for itself, unknown ones included. */
function checkKeys(raw: Record<string, unknown>, secretKeys: readonly string[]) {
  const mistakes: Mistake[] = [];
  const good: Partial<StackSettings> = {};
  for (const key of keys) {
    const value = fromText(key, Object.hasOwn(raw, key) ? raw[key] : undefined);
    const result = shape[key].safeParse(value);
    if (result.success) Object.assign(good, { [key]: result.data });
    else mistakes.push(...fieldMistakes(key, value, result.error.issues, secretKeys.includes(key)));
  }
  const given = Object.keys(raw).filter((key) => raw[key] !== undefined);
  for (const key of given) {
    if (Object.hasOwn(shape, key)) continue;
    const value = secretKeys.includes(key) ? undefined : toText(raw[key]);
    mistakes.push(unknownKey(key, value, keys, given));
  }
  lowerReservations(raw, good);
  return { good, mistakes };
}

function hostsOf(
  { hosts: _, ...common }: Record<string, unknown>,
  overrides: StackSettings["hosts"],
  secretKeys: readonly string[],
  known: readonly Mistake[],
): CheckedHosts {
  return checkHosts(
    overrides,
    (own) => {
      // One secret among the overrides makes all of them secret to Pulumi.
      const secrets = secretKeys.includes("hosts") ? [...secretKeys, ...Object.keys(own)] : secretKeys;
      const forStack = stackKeys.filter((key) => Object.hasOwn(own, key));
      const { good, mistakes } = checkKeys(mergeOverrides(common, own), secrets);
      mistakes.push(...crossMistakes(good), ...forStack.map(stackMistake));
      return { settings: mistakes.length === 0 ? (good as StackSettings) : undefined, mistakes };
    },
    known,
  );
}

/** Settings that are the same on all hosts. */
const stackKeys: readonly Key[] = ["hosts", ...registryKeys];

function stackMistake(key: Key): Mistake {
  return {
    key,
    problem: "is a setting of the whole stack",
    accepted: "settings that can be different on each host",
    fix: [{ key }],
  };
}

/** The stack's settings with those of one host laid over them; of an object, field by field. */
function mergeOverrides(common: Record<string, unknown>, own: Record<string, unknown>) {
  const merged: Record<string, unknown> = { ...common };
  for (const [key, value] of Object.entries(own)) {
    if (stackKeys.some((stackKey) => stackKey === key)) continue;
    const isGroup = Object.hasOwn(settingFields, key);
    const [below, above] = [merged[key], value].map((part) => (isGroup ? fromText(key as Key, part) : part));
    merged[key] = isGroup && isObject(below) && isObject(above) ? { ...below, ...above } : value;
  }
  return merged;
}

/** A reservation that was not asked for never stands in the way of a low limit. */
function lowerReservations(raw: Record<string, unknown>, good: Partial<StackSettings>): void {
  const { cpuLimit = Infinity, cpuReservation = 0, memoryLimit = Infinity, memoryReservation = 0 } = good;
  if (raw.cpuReservation === undefined) good.cpuReservation = Math.min(cpuReservation, cpuLimit);
  if (raw.memoryReservation === undefined) good.memoryReservation = Math.min(memoryReservation, memoryLimit);
}

/** A setting's default as it is typed; undefined where it has none. */
export function defaultText(schema: z.core.$ZodType): string | undefined {
  return schema instanceof z.ZodPrefault ? toText(schema.def.defaultValue) : undefined;
}

/** What Pulumi's configuration, which is text, stands for: JSON where the setting is a list or an object. */
function fromText(key: Key, value: unknown): unknown {
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
const lists = ["images", "keys", "egressAllow"] as const satisfies Key[];
type ListKey = (typeof lists)[number];
type StructuredKey = ListKey | keyof typeof settingFields;

function isStructured(key: Key): key is StructuredKey {
  return isList(key) || Object.hasOwn(settingFields, key);
}

function isList(key: Key): key is ListKey {
  return lists.some((list) => list === key);
}

/** The fields of an object among the settings; none for anything else. */
export function fieldsOf(key: Key): Record<string, z.core.$ZodType> {
  return isStructured(key) && !isList(key) ? settingFields[key] : {};
}

/** The parts of settings that hold passwords and private keys: never shown, however they are stored. */
const SECRET_PARTS: PropertyKey[] = ["logins", "key"];

/** What is wrong with one setting: a mistake for each wrong part of it. */
function fieldMistakes(key: Key, value: unknown, issues: z.core.$ZodIssue[], secret: boolean): Mistake[] {
  const fix = mend(key, secret ? undefined : value);
  const mistakes = new Map<string, Mistake>();
  for (const issue of issues) {
    const meta = settingMeta.get(fieldsOf(key)[String(issue.path[0])] ?? shape[key]);
    if (issue.code === "unrecognized_keys") {
      for (const name of issue.keys) {
        const { problem, accepted } = unknownKey(name, undefined, Object.keys(fieldsOf(key)), []);
        const path = [...issue.path, name].join(".");
        const inner = issue.path.length > 0 ? meta?.accepts : undefined;
        mistakes.set(path, { key: `${key}.${path}`, problem, accepted: inner ?? accepted, fix });
      }
      continue;
    }
    const name = issue.path.join(".");
    const reason = issue.code === "custom" && issue.message !== "Invalid input" ? ` (${issue.message})` : "";
    mistakes.set(name, {
      key: [key, ...issue.path].join("."),
      problem:
        secret || SECRET_PARTS.includes(issue.path[0] ?? "")
          ? "has a secret value that is not accepted"
          : `is ${show(at(value, issue.path))}${reason}`,
      accepted: meta?.accepts ?? "",
      fix,
    });
  }
  return [...mistakes.values()];
}

function at(value: unknown, path: PropertyKey[]): unknown {
  return path.reduce((inner: unknown, name) => (isObject(inner) ? inner[name] : undefined), value);
}

function isObject(value: unknown): value is Record<PropertyKey, unknown> {
  return typeof value === "object" && value !== null;
}

/** The value that the user probably meant, or else the default; with no default, the setting is removed. */
function mend(key: Key, value: unknown): Mistake["fix"] {
  const accepts = (text: string | undefined) =>
    text !== undefined && text.length <= 200 && shape[key].safeParse(fromText(key, text)).success;
  const suggested = isStructured(key)
    ? mendParts(key, value)
    : settingMeta.get(shape[key])?.suggest?.(toText(value));
  const text = [suggested, defaultText(shape[key])].find(accepts);
  return [text === undefined ? { key } : { key, value: text }];
}

/** A list or an object without its wrong parts; a misspelt field gets its right name. */
function mendParts(key: StructuredKey, value: unknown): string | undefined {
  if (isList(key)) {
    const kept: unknown[] = [];
    for (const item of Array.isArray(value) ? value : [value])
      if (shape[key].safeParse([...kept, item]).success) kept.push(item);
    return JSON.stringify(kept);
  }
  if (!isObject(value)) return undefined;
  const names = Object.keys(fieldsOf(key));
  const mended: Record<string, unknown> = {};
  for (const [given, part] of Object.entries(value)) {
    const name = names.includes(given) ? given : nearest(given, names);
    if (name === undefined || SECRET_PARTS.includes(name) || (name !== given && Object.hasOwn(value, name)))
      continue;
    if (shape[key].safeParse({ [name]: part }).success) mended[name] = part;
  }
  return JSON.stringify(mended);
}
