import * as command from "@pulumi/command";
import * as pulumi from "@pulumi/pulumi";

/**
 * The resource that a destroy deletes first. Pulumi checks `protect` when it comes to a resource, and then keeps all that the
 * protected one depends on. With only the volumes protected, the server, a generated API key and the stack's CA would be
 * deleted before. It also exists without protection: a protected resource can't be removed from the program.
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
