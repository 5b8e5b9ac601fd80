import { z } from "zod";
import { settingMeta } from "./config-fields";
import { type Mistake, show, toText, unknownKey } from "./config-mistakes";
import { type StackSettings, settingFields, settingsSchema } from "./config-schema";
import { formatSize, isLoopback, nearest } from "./config-values";

type Key = keyof StackSettings;
const shape = settingsSchema.shape;
const keys = Object.keys(shape) as Key[];

/** Either the settings, or everything that is wrong with them. */
export function checkSettings(
  raw: Record<string, unknown>,
  secretKeys: readonly string[] = [],
): { settings: StackSettings; mistakes: [] } | { settings?: undefined; mistakes: Mistake[] } {
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
  mistakes.push(...crossMistakes(good));
  return mistakes.length === 0 ? { settings: good as StackSettings, mistakes: [] } : { mistakes };
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
  if (!isStructured(key) || typeof value !== "string") return value;
  try {
    return JSON.parse(value);
  } catch {
    return value;
  }
}

type StructuredKey = "images" | keyof typeof settingFields;

function isStructured(key: Key): key is StructuredKey {
  return key === "images" || Object.hasOwn(settingFields, key);
}

/** The fields of an object among the settings; none for anything else. */
export function fieldsOf(key: Key): Record<string, z.core.$ZodType> {
  return isStructured(key) && key !== "images" ? settingFields[key] : {};
}

/** The part of a setting that holds passwords: never shown, however it is stored. */
const SECRET_PART = "logins";

/** What is wrong with one setting: a mistake for each wrong part of it. */
function fieldMistakes(key: Key, value: unknown, issues: z.core.$ZodIssue[], secret: boolean): Mistake[] {
  const fix = mend(key, value);
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
        secret || issue.path[0] === SECRET_PART
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
  if (key === "images") {
    const list = Array.isArray(value) ? value : [value];
    return JSON.stringify(list.filter((item) => shape.images.safeParse([item]).success));
  }
  if (!isObject(value)) return undefined;
  const names = Object.keys(fieldsOf(key));
  const mended: Record<string, unknown> = {};
  for (const [given, part] of Object.entries(value)) {
    const name = names.includes(given) ? given : nearest(given, names);
    if (name === undefined || name === SECRET_PART || (name !== given && Object.hasOwn(value, name)))
      continue;
    if (shape[key].safeParse({ [name]: part }).success) mended[name] = part;
  }
  return JSON.stringify(mended);
}

/** What is wrong between settings that are right one by one. */
function crossMistakes(given: Partial<StackSettings>): Mistake[] {
  return [
    cpuMistake(given),
    memoryMistake(given),
    emulatedMistake(given),
    devModeMistake(given),
    volumesMistake(given),
  ].filter((mistake) => mistake !== undefined);
}

function cpuMistake({ cpuLimit, cpuReservation }: Partial<StackSettings>): Mistake | undefined {
  if (cpuLimit === undefined || cpuReservation === undefined || cpuReservation <= cpuLimit) return undefined;
  return {
    key: "cpuReservation",
    problem: `is ${cpuReservation}, more than cpuLimit, which is ${cpuLimit}`,
    accepted: `at most ${cpuLimit}, or a higher cpuLimit`,
    fix: [{ key: "cpuReservation", value: `${cpuLimit}` }],
  };
}

function memoryMistake({ memoryLimit, memoryReservation }: Partial<StackSettings>): Mistake | undefined {
  if (memoryLimit === undefined || memoryReservation === undefined) return undefined;
  if (memoryReservation <= memoryLimit) return undefined;
  const limit = formatSize(memoryLimit);
  return {
    key: "memoryReservation",
    problem: `is ${formatSize(memoryReservation)}, more than memoryLimit, which is ${limit}`,
    accepted: `at most ${limit}, or a higher memoryLimit`,
    fix: [{ key: "memoryReservation", value: limit }],
  };
}

function emulatedMistake({ host, emulatedMemory, memoryLimit }: Partial<StackSettings>): Mistake | undefined {
  if (host !== "emulated" || emulatedMemory === undefined || memoryLimit === undefined) return undefined;
  if (emulatedMemory >= memoryLimit) return undefined;
  const [memory, limit] = [formatSize(emulatedMemory), formatSize(memoryLimit)];
  const canGrow = shape.emulatedMemory.safeParse(limit).success;
  return {
    key: "emulatedMemory",
    problem: `is ${memory}, less than memoryLimit, which is ${limit}`,
    accepted: `at least ${limit}, or a lower memoryLimit`,
    fix: [canGrow ? { key: "emulatedMemory", value: limit } : { key: "memoryLimit", value: memory }],
  };
}

function devModeMistake({
  devMode,
  exposeDevMode,
  bindAddress,
}: Partial<StackSettings>): Mistake | undefined {
  if (devMode !== true || exposeDevMode !== false || bindAddress === undefined) return undefined;
  if (isLoopback(bindAddress)) return undefined;
  return {
    key: "bindAddress",
    problem: `is ${bindAddress} while devMode checks no key: whoever reaches it could run code`,
    accepted: "127.0.0.1 in dev mode; any address with devMode false, or with exposeDevMode true",
    fix: [{ key: "bindAddress", value: "127.0.0.1" }],
  };
}

function volumesMistake({ volumes }: Partial<StackSettings>): Mistake | undefined {
  if (volumes?.state === undefined || volumes.state !== volumes.workspace) return undefined;
  const { workspace, ...rest } = volumes;
  return {
    key: "volumes.workspace",
    problem: `is ${show(workspace)}, the same as volumes.state`,
    accepted: "a volume of its own, or none for the name that comes from the stack",
    fix: [{ key: "volumes", value: JSON.stringify(rest) }],
  };
}
