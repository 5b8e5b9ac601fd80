import { local } from "@pulumi/command";
import * as pulumi from "@pulumi/pulumi";
import { namingHost } from "../settings/visible-error";
import type { Connection } from "./connection";
import { probeCommand, probed } from "./probe";

/**
 * Runs a script on a host in every preview and up, and gives what it prints. An error fails what waits for the output.
 *
 * @param stdin the script
 * @param hostName name of the host among several, for errors
 * @param after what has to be known before the answer counts; the host is asked meanwhile
 * @throws VisibleError (into the output) where the host could not be reached
 */
export function askHost(
  connection: pulumi.Input<Connection>,
  stdin: pulumi.Input<string>,
  { parent, hostName, after }: { parent: pulumi.Resource; hostName?: string; after?: pulumi.Input<unknown> },
): pulumi.Output<string> {
  // In an apply, not as inputs of the invoke: it would wrap an error of an input in another one, with a stack trace.
  const said = pulumi.all([connection, stdin]).apply(async ([host, input]) => {
    const command = probeCommand(host);
    return { host, ...(await local.run({ command, stdin: input, logging: "none" }, { parent })) };
  });
  return pulumi
    .all([said, after])
    .apply(([{ host, stdout }]) => namingHost(hostName, () => probed(host, stdout)));
}
