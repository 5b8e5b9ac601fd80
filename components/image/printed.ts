import { isDeepStrictEqual } from "node:util";
import type * as command from "@pulumi/command";
import * as pulumi from "@pulumi/pulumi";
import type { Recorded } from "../host/deployment";

/** Commands of the service as the state has them. */
export type RecordedCommands = pulumi.Input<Pick<Recorded, "command">>;

/**
 * The output of a command that depends on its triggers alone. In a preview Pulumi treats the output of every changed command
 * as unknown, and shows what uses it as replaced; with unchanged triggers it is the output in the state.
 */
export function printedBy(
  made: command.local.Command,
  name: string,
  triggers: pulumi.Input<pulumi.Input<unknown>[]>,
  recorded: RecordedCommands | undefined,
): pulumi.Output<string> {
  const text = made.stdout.apply((stdout) => stdout.trim());
  if (!recorded || !pulumi.runtime.isDryRun()) return text;
  return pulumi.all([pulumi.output(triggers), recorded]).apply(([wanted, state]) => {
    const before = state.command(name);
    return before && isDeepStrictEqual(before.triggers, wanted) ? pulumi.output(before.stdout.trim()) : text;
  });
}
