import { checkSettings } from "./checks";
import type { StackSettings } from "./schema";
import { explainErrors, type FixStyle } from "./setting-errors";
import { VisibleError } from "./visible-error";

/** How `parseSettings` reads its input and words its errors. */
export interface ParseOptions extends FixStyle {
  /** Keys whose value must not be shown. */
  secretKeys?: readonly string[];
}

/**
 * Checks settings and fills in the defaults.
 *
 * @param raw values by key, without the namespace: plain ones, or text as Pulumi's configuration has it
 * @throws VisibleError that lists every error at once, each with the line that fixes it
 */
export function parseSettings(raw: Record<string, unknown>, options: ParseOptions = {}): StackSettings {
  const { settings, errors } = checkSettings(raw, options.secretKeys);
  if (settings === undefined) throw new VisibleError(explainErrors(errors, options));
  return settings;
}
