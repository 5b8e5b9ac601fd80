import { checkSettings } from "./checks";
import { VisibleError } from "./errors";
import { explainMistakes, type FixStyle } from "./mistakes";
import type { StackSettings } from "./schema";

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
