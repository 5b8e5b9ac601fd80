import * as command from "@pulumi/command";
import * as pulumi from "@pulumi/pulumi";

/**
 * What a destroy comes to first. Pulumi looks at `protect` when a resource's turn has come, and skips what the refused
 * one depends on: with the volumes alone protected, the server, a made API key and the stack's own authority would be
 * gone by then. It is there without protection too, since one that has gone from the program could not be removed.
 */
export class Protection extends pulumi.ComponentResource {
  /** @param all every resource of the service but this one; of components, all that is in them */
  constructor(
    name: string,
    { protect, all }: { protect: boolean; all: pulumi.Resource[] },
    opts?: pulumi.ComponentResourceOptions,
  ) {
    super("microsandbox:index:Protection", name, {}, opts);
    new command.local.Command(
      `${name}-last`,
      { create: ":", logging: "none" },
      { parent: this, protect, dependsOn: all },
    );
    this.registerOutputs({});
  }
}
