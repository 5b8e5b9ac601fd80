import { isDeepStrictEqual } from "node:util";
import type * as command from "@pulumi/command";
import * as pulumi from "@pulumi/pulumi";
import type { Recorded } from "../host/deployment";

/** Commands of the service as the state has them. */
export type RecordedCommands = pulumi.Input<Pick<Recorded, "command">>;

/**
 * What a command prints that depends on its triggers alone. In a preview Pulumi takes the output of every changed command
 * for unknown, and what is made of it for replaced; with the same triggers it is what the state has.
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
