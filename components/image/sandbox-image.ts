import { join } from "node:path";
import * as command from "@pulumi/command";
import * as docker from "@pulumi/docker";
import * as pulumi from "@pulumi/pulumi";
import { hostShell, withVariables } from "../host/connection";
import { packageRoot, script } from "../host/scripts";
import { shellQuote } from "../settings/shell";
import { buildLogFile, sayWhenBuildFails } from "./build-log";
import { contextHash } from "./context-hash";
import { giveCertificates } from "./deployer-certificates";
import { giveProxy } from "./deployer-proxy";
import { type BuildSettings, buildArgsOf, imageName, shortHash } from "./image-name";
import {
  type ImageTransfer,
  imageOnHost,
  loginVariables,
  type RegistryLogin,
  registryOf,
  transferVariables,
} from "./image-on-host";
import type { RecordedCommands } from "./printed";
import { pushImage } from "./push";

export interface SandboxImageArgs {
  /** Repository part of the image's name. @example "microsandbox-dev" */
  baseName: string;
  /** Processor that the image is for; it is built without emulation on either. */
  architecture: pulumi.Input<"amd64" | "arm64">;
  /** microsandbox version in the image. @example "0.7.11" */
  version: pulumi.Input<string>;
  /** SHA-256 of the wheels, for a version that docker/wheels has no pin of. */
  versionSha256?: pulumi.Input<{ amd64?: string; arm64?: string } | undefined>;
  /** Tag of the Debian image that the build starts from. @example "13.2-slim" */
  debianVersion: pulumi.Input<string>;
  /** Registry in front of the base image's name, empty or ending in "/". @default "" */
  registryPrefix?: pulumi.Input<string>;
  /** Where the image has to go when it is not built on the host itself. */
  transfer?: ImageTransfer;
  /** Registry that the image is pushed to, and that a host which has not built it pulls it from. */
  registry?: ImageRegistry;
  /** What the state has of the service. */
  recorded?: RecordedCommands;
}

export interface ImageRegistry {
  /** @example "registry.example.com/team/microsandbox-prod" */
  repository: pulumi.Input<string>;
  login?: RegistryLogin;
}

/**
 * The server's image for one architecture, built by the local engine from docker/ and, where the host is another
 * machine, brought to that host's engine: directly, or through a registry. It is rebuilt when the context or an argument changes, and only then.
 *
 * @example new SandboxImage("image", { baseName: "microsandbox-dev", architecture: "amd64", version: "0.7.11", … })
 */
export class SandboxImage extends pulumi.ComponentResource {
  /** Id of the image in the host's engine: `sha256:…`. */
  readonly imageId: pulumi.Output<string>;
  /** Name and tag: version, architecture, and a hash of the content and all arguments of the build. */
  readonly reference: pulumi.Output<string>;
  /** Digest of the registry's tag that joins the images of all processors, with this one in it; with `registry` alone. */
  manifestList?: pulumi.Output<string>;

  constructor(name: string, args: SandboxImageArgs, opts?: pulumi.ComponentResourceOptions) {
    super("microsandbox:index:SandboxImage", name, {}, opts);
    const context = join(packageRoot(), "docker");
    const content = contextHash(context);
    const log = buildLogFile(packageRoot(), `${pulumi.getStack()}-${name}`);
    if (!pulumi.runtime.isDryRun()) {
      this.giveDeployersOwn(context);
      if (log) sayWhenBuildFails(log);
    }
    const settings = pulumi
      .all([args.version, args.architecture, args.versionSha256, args.debianVersion, args.registryPrefix])
      .apply(
        ([version, architecture, versionSha256, debianVersion, registryPrefix]): BuildSettings => ({
          ...{ version, architecture, versionSha256, debianVersion, registryPrefix },
        }),
      );
    this.reference = settings.apply((all) => imageName(args.baseName, all, content));
    // The provider removes a name by force, also that of an image that runs: of one that was given up and is built again,
    // as after an upgrade that failed. It is there before the image: what an interrupted build has made goes with it.
    const removal = new command.local.Command(
      `${name}-removal`,
      {
        create: ":",
        delete: pulumi.interpolate`docker image rm ${this.reference.apply(shellQuote)} || true`,
        triggers: [this.reference],
        logging: "stderr",
      },
      { parent: this },
    );
    const image = new docker.RemoteImage(
      `${name}-build`,
      {
        name: this.reference,
        build: {
          context,
          dockerfile: "Dockerfile",
          platform: pulumi.interpolate`linux/${args.architecture}`,
          buildArgs: settings.apply(buildArgsOf),
          remove: true,
          // With one, an engine with containerd's image store makes an index of the image, which can't be part of another.
          provenance: "false",
          buildLogFile: log,
        },
        triggers: { context: content },
        keepLocally: true,
      },
      { parent: this, dependsOn: removal },
    );
    const arrived = args.registry
      ? this.throughRegistry(name, args, image, content, args.registry)
      : args.transfer && this.send(name, image, args.transfer, args.recorded);
    this.imageId = arrived ?? image.imageId;

    this.registerOutputs({ imageId: this.imageId, reference: this.reference });
  }

  private giveDeployersOwn(context: string): void {
    try {
      giveCertificates(context);
      giveProxy(context);
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      void pulumi.log.warn(
        `A build can't use the private certificate authorities and the proxy of this machine: ${why}`,
        this,
      );
    }
  }

  /** Sends the image, or what the host lacks of it. */
  private send(
    name: string,
    image: docker.RemoteImage,
    transfer: ImageTransfer,
    recorded: RecordedCommands | undefined,
  ): pulumi.Output<string> {
    const connection = pulumi.output(transfer.connection);
    const stdin = pulumi
      .all([image.name, connection, transfer.loader])
      .apply(([REFERENCE, host, loader]) =>
        withVariables(
          { REFERENCE, ...transferVariables(host, loader, transfer.loaderDeduplicates) },
          script("image/send-image"),
        ),
      );
    // Not the id: another deploying machine builds the same content with another id.
    return imageOnHost(
      name,
      { connection, reference: image.name, create: "sh -s", stdin, triggers: [image.name], recorded },
      this,
    );
  }

  /** Pushes the image, as one architecture of a multi-platform tag, and has the host pull it by its digest. */
  private throughRegistry(
    name: string,
    args: SandboxImageArgs,
    image: docker.RemoteImage,
    content: string,
    { repository, login }: ImageRegistry,
  ): pulumi.Output<string> | undefined {
    // Hosts of a stack may be built from other bases: not under one tag.
    const hash = pulumi
      .all([args.debianVersion, args.registryPrefix, args.versionSha256])
      .apply((bases) => shortHash([content, ...bases]));
    const { digest, manifestList } = pushImage(
      name,
      {
        ...{ reference: image.name, architecture: args.architecture, repository, login },
        recorded: args.recorded,
        tag: pulumi.interpolate`${args.version}-${hash}`,
      },
      this,
    );
    this.manifestList = manifestList;
    if (!args.transfer) return undefined;

    const connection = pulumi.output(args.transfer.connection);
    // Not the name of a sent image: deleting that resource would remove this image.
    const pulled = pulumi
      .all([image.name, digest])
      .apply(([reference, sha256]) => `${reference}-${sha256.slice("sha256:".length, 19)}`);
    const stdin = pulumi
      .all([digest, pulled, repository, loginVariables(login)])
      .apply(([sha256, REFERENCE, from, secrets]) =>
        withVariables(
          { SOURCE: `${from}@${sha256}`, REFERENCE, REGISTRY: registryOf(from), STACK: pulumi.getStack() },
          script("image/pull-image"),
          secrets,
        ),
      );
    return imageOnHost(
      name,
      {
        ...{ connection, reference: pulled, triggers: [digest], recorded: args.recorded },
        create: connection.apply(hostShell),
        stdin: pulumi.secret(stdin),
      },
      this,
    );
  }
}
