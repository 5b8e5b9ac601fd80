import * as pulumi from "@pulumi/pulumi";
import { type Connection, hostShell, withVariables } from "../host/connection";
import { script } from "../host/scripts";
import {
  type ImageTransfer,
  imageOnHost,
  loginVariables,
  type RegistryLogin,
  registryOf,
  transferVariables,
} from "./image-on-host";
import type { RecordedCommands } from "./printed";

export interface PrebuiltImageArgs {
  /** The image by its digest, of one processor or of several. @example "registry.example.com/team/server@sha256:…" */
  source: pulumi.Input<string>;
  /** Repository part of the image's name on the host. @example "microsandbox-dev" */
  baseName: string;
  /** Processor of the host; an image for another one is refused. */
  architecture: pulumi.Input<"amd64" | "arm64">;
  /** microsandbox version that the image has to hold, by its label. @example "0.7.11" */
  version: pulumi.Input<string>;
  /** The host. */
  connection: pulumi.Input<Connection>;
  /** How the image gets to the host where it is pulled on this machine. @default the host pulls it */
  transfer?: ImageTransfer;
  /** Login to the image's registry. @default the `docker login` of the machine that pulls */
  login?: RegistryLogin;
  /** What the state has of the service. */
  recorded?: RecordedCommands;
}

/**
 * The server's prebuilt image: pulled by its digest, by the host or by this machine, which then sends it.
 *
 * @example new PrebuiltImage("image", { source: "registry.example.com/team/server@sha256:…", version: "0.7.11", … })
 */
export class PrebuiltImage extends pulumi.ComponentResource {
  /** Id of the image in the host's engine: `sha256:…`. */
  readonly imageId: pulumi.Output<string>;
  /** Name and tag on the host: version, architecture, and the beginning of the digest. */
  readonly reference: pulumi.Output<string>;

  constructor(name: string, args: PrebuiltImageArgs, opts?: pulumi.ComponentResourceOptions) {
    super("microsandbox:index:PrebuiltImage", name, {}, opts);
    const { source, version, transfer } = args;
    this.reference = pulumi
      .all([source, version, args.architecture])
      .apply(
        ([image, number, architecture]) =>
          `${args.baseName}:${number}-${architecture}-${image.replace(/^.*@sha256:/, "").slice(0, 12)}`,
      );
    const variables = pulumi
      .all([source, version, args.architecture, this.reference])
      .apply(([SOURCE, VERSION, ARCHITECTURE, REFERENCE]) => ({
        ...{ SOURCE, VERSION, ARCHITECTURE, REFERENCE },
        ...{ REGISTRY: registryOf(SOURCE), STACK: pulumi.getStack() },
      }));
    const stdin = pulumi
      .all([variables, args.connection, transfer?.loader, loginVariables(args.login)])
      .apply(([pulled, host, loader, secrets]) => {
        if (!transfer || loader === undefined)
          return withVariables(pulled, script("image/pull-image"), secrets);
        const sent = transferVariables(host, loader, transfer.loaderDeduplicates);
        const both = `set -e\n(\n${script("image/pull-image")}\n) >/dev/null\n${script("image/send-image")}`;
        return withVariables({ ...pulled, ...sent }, both, secrets);
      });
    this.imageId = imageOnHost(
      name,
      {
        connection: args.connection,
        reference: this.reference,
        create: transfer ? "sh -s" : pulumi.output(args.connection).apply(hostShell),
        stdin: pulumi.secret(stdin),
        triggers: [this.reference],
        recorded: args.recorded,
      },
      this,
    );
    this.registerOutputs({ imageId: this.imageId, reference: this.reference });
  }
}
