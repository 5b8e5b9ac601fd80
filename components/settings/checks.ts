import { type CheckedHosts, checkHosts } from "./check-hosts";
import { isCluster } from "./cluster";
import { checkCluster } from "./cluster-errors";
import { crossErrors, registryError } from "./cross";
import { DEFAULT_HOST, isHostName } from "./hosts";
import { registryKeys } from "./image-registry";
import { currentName, withCurrentNames } from "./renamed";
import { type HostSettings, type StackSettings, settingsSchema } from "./schema";
import { type SettingError, toText, unknownKey } from "./setting-errors";
import { fromText, isGroup, isList, isObject } from "./text-form";
import { fieldErrors } from "./wrong-fields";

type Key = keyof StackSettings;
const shape = settingsSchema.shape;
const keys = Object.keys(shape) as Key[];

/** Either the settings (the stack's own and those of each host), or everything that is wrong with them. */
type Checked =
  | { settings: StackSettings; hosts: Record<string, HostSettings>; errors: [] }
  | { settings?: undefined; hosts?: undefined; errors: SettingError[] };

/**
 * Checks the settings of a stack.
 *
 * @param given values by key, without the namespace
 * @param secrets keys whose value must not be shown
 */
export function checkSettings(given: Record<string, unknown>, secrets: readonly string[] = []): Checked {
  const [raw, secretKeys] = [withCurrentNames(given), secrets.map(currentName)];
  const { good, errors } = checkKeys(raw, secretKeys);
  const lacking = registryError(good);
  if (lacking && !errors.some(({ key }) => key === lacking.key)) errors.push(lacking);
  if (isCluster(good)) {
    const checked = checkCluster(raw, good);
    errors.push(...checked.errors.filter(({ key }) => !errors.some((known) => known.key === key)));
    if (errors.length > 0) return { errors };
    return { settings: checked.settings as StackSettings, hosts: {}, errors: [] };
  }
  const overrides = good.hosts ?? {};
  if (Object.keys(overrides).length === 0) {
    errors.push(...crossErrors(good));
    if (errors.length > 0) return { errors };
    const settings = good as StackSettings;
    return { settings, hosts: { [DEFAULT_HOST]: settings }, errors: [] };
  }
  // The stack's own settings are defaults then: whether they go together shows on each host.
  const checked = hostsOf(raw, overrides, secretKeys, errors);
  errors.push(...checked.errors);
  if (errors.length > 0) return { errors };
  return { settings: good as StackSettings, hosts: checked.hosts, errors: [] };
}

/**
 * Checks what is known of the settings of one host.
 *
 * @param raw values by key, without those that are not known yet
 * @param later keys that are not known yet, wholly or in part: they are left out of checks between settings
 * @returns the settings, with defaults for unknown ones, and all errors
 */
export function checkKnown(
  raw: Record<string, unknown>,
  later: readonly string[],
): { settings: HostSettings; errors: SettingError[] } {
  const { good, errors } = checkKeys(raw, []);
  const sure = Object.fromEntries(Object.entries(good).filter(([key]) => !later.includes(key)));
  const lacking = registryKeys.some((key) => later.includes(key)) ? undefined : registryError(sure);
  if (lacking && !errors.some(({ key }) => key === lacking.key)) errors.push(lacking);
  return { settings: good as HostSettings, errors: [...errors, ...crossErrors(sure)] };
}

/**
 * The settings of each host as far as they can be read without secrets: encrypted and wrong ones are left out, and settings
 * are not checked against each other. A cluster has none.
 *
 * @param given values by key, without the namespace
 */
export function readableHosts(given: Record<string, unknown>): Record<string, Partial<HostSettings>> {
  const raw = withCurrentNames(given);
  const { hosts: _, ...all } = raw;
  const common = withoutSecrets(all);
  const { good } = checkKeys(raw, []);
  if (isCluster(good)) return {};
  const named = Object.entries(good.hosts ?? {}).filter(([name]) => isHostName(name));
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
      if (!isGroup(key) || !isObject(value) || isEncrypted(value)) return [key, value];
      return [key, Object.fromEntries(Object.entries(value).filter(([, part]) => !isEncrypted(part)))];
    }),
  );
}

/** Each setting for itself, unknown ones included. */
function checkKeys(raw: Record<string, unknown>, secretKeys: readonly string[]) {
  const errors: SettingError[] = [];
  const good: Partial<StackSettings> = {};
  for (const key of keys) {
    const value = fromText(key, Object.hasOwn(raw, key) ? raw[key] : undefined);
    const result = shape[key].safeParse(value);
    if (result.success) Object.assign(good, { [key]: result.data });
    else errors.push(...fieldErrors(key, value, result.error.issues, secretKeys.includes(key)));
  }
  const given = Object.keys(raw).filter((key) => raw[key] !== undefined);
  for (const key of given) {
    if (Object.hasOwn(shape, key)) continue;
    const value = secretKeys.includes(key) ? undefined : toText(raw[key]);
    // A list or an object is no place for a single value, nor the other way round.
    const unlike = keys.filter((each) => kindOf(each) !== kindOfValue(fromText(each, toText(raw[key]))));
    errors.push(unknownKey(key, value, keys, [...given, ...unlike]));
  }
  lowerReservations(raw, good);
  return { good, errors };
}

type Kind = "list" | "object" | "value";

function kindOf(key: Key): Kind {
  if (isList(key)) return "list";
  return isGroup(key) || key === "hosts" ? "object" : "value";
}

function kindOfValue(value: unknown): Kind {
  if (Array.isArray(value)) return "list";
  return isObject(value) ? "object" : "value";
}

function hostsOf(
  { hosts: _, ...common }: Record<string, unknown>,
  overrides: StackSettings["hosts"],
  secretKeys: readonly string[],
  known: readonly SettingError[],
): CheckedHosts {
  return checkHosts(
    overrides,
    (own) => {
      // One secret among the overrides makes all of them secret to Pulumi.
      const secrets = secretKeys.includes("hosts") ? [...secretKeys, ...Object.keys(own)] : secretKeys;
      const forStack = stackKeys.filter((key) => Object.hasOwn(own, key));
      const { good, errors } = checkKeys(mergeOverrides(common, own), secrets);
      errors.push(...crossErrors(good), ...forStack.map(stackError));
      return { settings: errors.length === 0 ? (good as StackSettings) : undefined, errors };
    },
    known,
  );
}

/** Settings that are the same on all hosts. */
const stackKeys: readonly Key[] = ["hosts", "cluster", ...registryKeys];

function stackError(key: Key): SettingError {
  return {
    key,
    problem: "applies to the whole stack, not to one host",
    accepted: "settings that can differ between hosts",
    fix: [{ key }],
  };
}

/** The stack's settings with those of one host laid over them; of an object, field by field. */
function mergeOverrides(common: Record<string, unknown>, own: Record<string, unknown>) {
  const merged: Record<string, unknown> = { ...common };
  for (const [key, value] of Object.entries(own)) {
    if (stackKeys.some((stackKey) => stackKey === key)) continue;
    if (!isGroup(key)) {
      merged[key] = value;
      continue;
    }
    const [below, above] = [merged[key], value].map((part) => fromText(key, part));
    merged[key] = isObject(below) && isObject(above) ? { ...below, ...above } : value;
  }
  return merged;
}

/** A reservation that was not asked for never stands in the way of a low limit. */
function lowerReservations(raw: Record<string, unknown>, good: Partial<StackSettings>): void {
  const { cpuLimit = Infinity, cpuReservation = 0, memoryLimit = Infinity, memoryReservation = 0 } = good;
  if (raw.cpuReservation === undefined) good.cpuReservation = Math.min(cpuReservation, cpuLimit);
  if (raw.memoryReservation === undefined) good.memoryReservation = Math.min(memoryReservation, memoryLimit);
}
