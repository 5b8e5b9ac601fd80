import * as command from "@pulumi/command";
import * as pulumi from "@pulumi/pulumi";
import { type Connection, hostShell, shellQuote } from "./connection";

export interface PulledImagesArgs {
  /** References to pull. @example ["python:3.13-slim"] */
  images: string[];
  /** The host that the server runs on. */
  connection: pulumi.Input<Connection>;
  /** Name of the server's container. */
  containerName: pulumi.Input<string>;
}

/** Sandbox images pulled into the server's cache while deploying, so that a first start is not a download. */
export class PulledImages extends pulumi.ComponentResource {
  constructor(name: string, args: PulledImagesArgs, opts?: pulumi.ComponentResourceOptions) {
    super("microsandbox:index:PulledImages", name, {}, opts);
    for (const image of args.images) {
      new command.local.Command(
        `${name}-${image}`,
        {
          create: pulumi.output(args.connection).apply(hostShell),
          stdin: pulumi.interpolate`docker exec ${args.containerName} msb pull ${shellQuote(image)}`,
          triggers: [image],
        },
        { parent: this, deleteBeforeReplace: true },
      );
    }
    this.registerOutputs({});
  }
}
