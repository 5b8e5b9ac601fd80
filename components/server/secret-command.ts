import * as command from "@pulumi/command";
import * as pulumi from "@pulumi/pulumi";

/**
 * The secret output of a script on this machine: a private key, an API key. It runs once; the state keeps the output
 * encrypted. It is in no log and no environment of a command.
 *
 * @param triggers it runs again when one of them is another. @default [], with which no change of the script counts either
 */
export function secretFrom(
  name: string,
  stdin: pulumi.Input<string>,
  { parent, triggers = [] }: { parent?: pulumi.Resource; triggers?: number[] },
): pulumi.Output<string> {
  const made = new command.local.Command(
    name,
    // By default an update gets the previous output in its environment.
    { create: "sh -s", stdin, triggers, logging: "none", addPreviousOutputInEnv: false },
    {
      parent,
      additionalSecretOutputs: ["stdout"],
      ignoreChanges: triggers.length ? [] : ["stdin", "addPreviousOutputInEnv"],
    },
  );
  return pulumi.secret(made.stdout);
}
