import * as command from "@pulumi/command";
import * as pulumi from "@pulumi/pulumi";

/**
 * What a script prints that runs on this machine: a private key, an API key. It runs once; the state keeps what it has
 * printed, encrypted. Neither a log nor the environment of a command ever holds it.
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
    // An update would else get what was printed before in its environment.
    { create: "sh -s", stdin, triggers, logging: "none", addPreviousOutputInEnv: false },
    {
      parent,
      additionalSecretOutputs: ["stdout"],
      ignoreChanges: triggers.length ? [] : ["stdin", "addPreviousOutputInEnv"],
    },
  );
  return pulumi.secret(made.stdout);
}
