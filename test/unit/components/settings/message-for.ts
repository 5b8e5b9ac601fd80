import { expect } from "vitest";
import { parseSettings } from "../../../../components/settings/parse-settings";
import { VisibleError } from "../../../../components/settings/visible-error";

/** The error message for wrong settings; fails the test where they are accepted. */
export function messageFor(
  raw: Record<string, unknown>,
  options?: Parameters<typeof parseSettings>[1],
): string {
  try {
    parseSettings(raw, options);
  } catch (error) {
    expect(error).toBeInstanceOf(VisibleError);
    return (error as VisibleError).message;
  }
  throw new Error(`accepted: ${JSON.stringify(raw)}`);
}
