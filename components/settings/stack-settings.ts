// Parts of Pulumi, not all of it: the commands that run before it need the settings too, and soon.
import { getStack } from "@pulumi/pulumi/metadata";
import * as stackConfig from "@pulumi/pulumi/runtime/config";
import type { z } from "zod";
import { checkSettings } from "./checks";
import { VisibleError } from "./errors";
import { settingMeta } from "./fields";
import { explainMistakes, type FixStyle } from "./mistakes";
import { type HostSettings, NAMESPACE, type StackSettings, settingsSchema } from "./schema";
import { fieldsOf } from "./text-form";
import { defaultText } from "./wrong-fields";

export { checkSettings } from "./checks";
export { DEFAULT_HOST, resourceName } from "./hosts";
export { type HostSettings, NAMESPACE, type SettingsInput, type StackSettings } from "./schema";
export { formatSize, isLoopback, parseSize } from "./values";

/** How `parseSettings` reads its input and words its errors. */
export interface ParseOptions extends FixStyle {
  /** Keys whose value must not be shown. */
  secretKeys?: readonly string[];
}

/**
 * Checks settings and fills in the defaults.
 *
 * @param raw values by key, without the namespace: plain ones, or text as Pulumi's configuration has it
 * @throws VisibleError that lists every mistake at once, each with the line that mends it
 */
export function parseSettings(raw: Record<string, unknown>, options: ParseOptions = {}): StackSettings {
  const { settings, mistakes } = checkSettings(raw, options.secretKeys);
  if (settings === undefined) throw new VisibleError(explainMistakes(mistakes, options));
  return settings;
}

/**
 * Reads the settings of the current stack: everything below `microsandbox:`.
 *
 * @returns the settings of each host by its name; of the host `default` where the stack has no `hosts`
 * @throws VisibleError as `parseSettings` does; a value that is stored as a secret is not shown in it
 */
export function readStackSettings(): Record<string, HostSettings> {
  const raw: Record<string, unknown> = {};
  const secretKeys: string[] = [];
  for (const [name, value] of Object.entries(stackConfig.allConfig())) {
    if (!name.startsWith(`${NAMESPACE}:`)) continue;
    const key = name.slice(NAMESPACE.length + 1);
    raw[key] = value;
    if (isSecret(name)) secretKeys.push(key);
  }
  const { hosts, mistakes } = checkSettings(raw, secretKeys);
  if (hosts === undefined) throw new VisibleError(explainMistakes(mistakes, { stack: getStack() }));
  return hosts;
}

/** Whether the stack's configuration holds a key encrypted. Pulumi knows, but doesn't declare it. */
function isSecret(name: string): boolean {
  const { isConfigSecret } = stackConfig as { isConfigSecret?: (key: string) => boolean };
  return isConfigSecret?.(name) ?? false;
}

/** One row of the settings table. */
export interface SettingRow {
  /** Without the namespace; a field of a structured setting is written `volumes.keep`. */
  key: string;
  /** What is accepted, and the unit of it. */
  type: string;
  /** As it is typed; empty where there is none. */
  default: string;
  description: string;
  /** A value other than the default, as it is typed. */
  example: string;
}

/** All settings in the order of the schema, for the documentation; parts follow the setting that they are of. */
export function settingsTable(): SettingRow[] {
  const rows: SettingRow[] = [];
  for (const key of Object.keys(settingsSchema.shape) as (keyof StackSettings)[]) {
    rows.push(settingRow(key, settingsSchema.shape[key]));
    for (const [name, part] of Object.entries(fieldsOf(key))) rows.push(settingRow(`${key}.${name}`, part));
  }
  return rows;
}

function settingRow(key: string, schema: z.core.$ZodType): SettingRow {
  const meta = settingMeta.get(schema);
  if (meta === undefined) throw new Error(`the setting ${key} has no description`);
  const { accepts, description, example } = meta;
  return { key, type: accepts, default: defaultText(schema) ?? "", description, example };
}
