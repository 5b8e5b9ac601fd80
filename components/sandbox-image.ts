import { join } from "node:path";
import * as command from "@pulumi/command";
import * as docker from "@pulumi/docker";
import * as pulumi from "@pulumi/pulumi";
import { type Connection, remoteCommand, shellQuote } from "./connection";
import { contextHash } from "./context-hash";
import { packageRoot } from "./scripts";

export interface SandboxImageArgs {
  /** Repository part of the image's name. @example "microsandbox-dev" */
  baseName: string;
  /** Processor that the image is for; it is built without emulation on either. */
  architecture: pulumi.Input<"amd64" | "arm64">;
  /** microsandbox version in the image. @example "0.7.11" */
  version: pulumi.Input<string>;
  /** SHA-256 of the wheels, for a version that docker/wheels has no pin of. */
  versionSha256?: { amd64?: string; arm64?: string };
  /** Tag of the Debian image that the build starts from. @example "13.2-slim" */
  debianVersion: string;
  /** Registry in front of the base image's name, empty or ending in "/". @default "" */
  registryPrefix?: string;
  /** Where the image has to go when it is not built on the host itself. */
  transfer?: { connection: pulumi.Input<Connection>; loader: pulumi.Input<string> };
}

/**
 * The server's image for one architecture, built by the local engine from docker/ and, where the host is another
 * machine, loaded into that host's engine. It is rebuilt when the context or an argument changes, and only then.
 *
 * @example new SandboxImage("image", { baseName: "microsandbox-dev", architecture: "amd64", version: "0.7.11", … })
 */
export class SandboxImage extends pulumi.ComponentResource {
  /** Id of the image in the host's engine: `sha256:…`. */
  readonly imageId: pulumi.Output<string>;
  /** Name and tag: version, content and architecture. */
  readonly reference: pulumi.Output<string>;

  constructor(name: string, args: SandboxImageArgs, opts?: pulumi.ComponentResourceOptions) {
    super("microsandbox:index:SandboxImage", name, {}, opts);
    const context = join(packageRoot, "docker");
    const content = contextHash(context);
    const buildArgs = this.buildArgs(args);

    this.reference = pulumi
      .all([args.version, args.architecture])
      .apply(
        ([version, architecture]) => `${args.baseName}:${version}-${architecture}-${content.slice(0, 12)}`,
      );
    const image = new docker.RemoteImage(
      `${name}-build`,
      {
        name: this.reference,
        build: {
          context,
          dockerfile: "Dockerfile",
          platform: pulumi.interpolate`linux/${args.architecture}`,
          buildArgs,
          remove: true,
        },
        triggers: { context: content },
        keepLocally: false,
        forceRemove: true,
      },
      { parent: this },
    );
    this.imageId = args.transfer ? this.load(name, image, args.transfer) : image.imageId;

    this.registerOutputs({ imageId: this.imageId, reference: this.reference });
  }

  private buildArgs(args: SandboxImageArgs): pulumi.Output<{ [name: string]: string }> {
    // Certificates that this machine trusts besides the usual ones (a company's proxy): the build downloads too.
    const certificates = command.local.runOutput(
      { command: "cat /usr/local/share/ca-certificates/*.crt 2>/dev/null || true", logging: "none" },
      { parent: this },
    );
    return pulumi
      .all([args.version, args.architecture, certificates.stdout])
      .apply(([version, architecture, extraCertificates]): { [name: string]: string } => {
        const sha256 = args.versionSha256?.[architecture];
        return {
          REGISTRY_PREFIX: args.registryPrefix ?? "",
          DEBIAN_VERSION: args.debianVersion,
          MICROSANDBOX_VERSION: version,
          ...(sha256 ? { MICROSANDBOX_SHA256: sha256 } : {}),
          ...(extraCertificates ? { EXTRA_CA_CERTIFICATES: extraCertificates } : {}),
        };
      });
  }

  private load(
    name: string,
    image: docker.RemoteImage,
    transfer: NonNullable<SandboxImageArgs["transfer"]>,
  ): pulumi.Output<string> {
    const lines = pulumi
      .all([image.name, transfer.connection, transfer.loader])
      .apply(([reference, host, loader]) => {
        const onHost = (words: string) => remoteCommand(host, words);
        const id = onHost(`docker image inspect --format '{{.Id}}' ${shellQuote(reference)}`);
        return {
          create: `${id} 2>/dev/null || { docker save ${shellQuote(reference)} | { ${loader}; } >&2 && ${id}; }`,
          delete: `${onHost(`docker image rm --force ${shellQuote(reference)}`)} || true`,
        };
      });
    const loaded = new command.local.Command(
      `${name}-load`,
      { create: lines.create, delete: lines.delete, triggers: [image.imageId], logging: "stderr" },
      { parent: this },
    );
    // A failed inspect prints an empty line first.
    return loaded.stdout.apply((stdout) => stdout.trim());
  }
}
