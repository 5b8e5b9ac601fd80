import { createHash } from "node:crypto";
import { join } from "node:path";
import * as command from "@pulumi/command";
import * as docker from "@pulumi/docker";
import * as pulumi from "@pulumi/pulumi";
import { type Connection, hostShell, remoteCommand, withVariables } from "../host/connection";
import { packageRoot, script } from "../host/scripts";
import { shellQuote } from "../settings/shell";
import { contextHash } from "./context-hash";
import { giveCertificates } from "./deployer-certificates";

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
}

export interface ImageTransfer {
  connection: pulumi.Input<Connection>;
  /** Command line that loads the archive on its standard input into the host's engine. */
  loader: pulumi.Input<string>;
  /** Whether the loader leaves out by itself what the engine has. */
  sparing: boolean;
}

export interface ImageRegistry {
  /** @example "registry.example.com/team" */
  address: pulumi.Input<string>;
  /** User and password; without them each engine's own `docker login` holds. */
  user?: pulumi.Input<string | undefined>;
  password?: pulumi.Input<string | undefined>;
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

  constructor(name: string, args: SandboxImageArgs, opts?: pulumi.ComponentResourceOptions) {
    super("microsandbox:index:SandboxImage", name, {}, opts);
    const context = join(packageRoot(), "docker");
    const content = contextHash(context);
    if (!pulumi.runtime.isDryRun()) this.giveCertificates(context);
    const buildArgs = this.buildArgs(args);

    // Whatever makes another image gives it another name: a host that has the name has the image.
    this.reference = pulumi
      .all([args.version, args.architecture, buildArgs])
      .apply(
        ([version, architecture, given]) =>
          `${args.baseName}:${version}-${architecture}-${shortHash([content, given])}`,
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
          // With one, an engine with containerd's image store makes an index of the image, which can't be part of another.
          provenance: "false",
        },
        triggers: { context: content },
        keepLocally: false,
        forceRemove: true,
      },
      { parent: this },
    );
    const arrived = args.registry
      ? this.throughRegistry(name, args, image, content, args.registry)
      : args.transfer && this.send(name, image, args.transfer);
    this.imageId = arrived ?? image.imageId;

    this.registerOutputs({ imageId: this.imageId, reference: this.reference });
  }

  private giveCertificates(context: string): void {
    try {
      giveCertificates(context);
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      void pulumi.log.warn(
        `A build can't use the private certificate authorities of this machine: ${why}`,
        this,
      );
    }
  }

  private buildArgs(args: SandboxImageArgs): pulumi.Output<{ [name: string]: string }> {
    return pulumi
      .all([args.version, args.architecture, args.versionSha256, args.registryPrefix, args.debianVersion])
      .apply(([version, architecture, hashes, registryPrefix, debianVersion]): { [name: string]: string } => {
        const sha256 = hashes?.[architecture];
        return {
          REGISTRY_PREFIX: registryPrefix ?? "",
          DEBIAN_VERSION: debianVersion,
          MICROSANDBOX_VERSION: version,
          ...(sha256 ? { MICROSANDBOX_SHA256: sha256 } : {}),
        };
      });
  }

  /** Sends the image, or what the host lacks of it. */
  private send(name: string, image: docker.RemoteImage, transfer: ImageTransfer): pulumi.Output<string> {
    const connection = pulumi.output(transfer.connection);
    const stdin = pulumi.all([image.name, connection, transfer.loader]).apply(([REFERENCE, host, LOADER]) => {
      const WHOLE = transfer.sparing ? "yes" : "";
      return withVariables(
        { REFERENCE, HOST_SHELL: hostShell(host), LOADER, WHOLE },
        script("image/send-image"),
      );
    });
    // Not by the id: a build of the same content on another deployer has another one, and is no other image.
    return this.onHost(name, connection, image.name, { create: "sh -s", stdin, triggers: [image.name] });
  }

  /** Pushes the image, as one architecture of a joint tag, and has the host pull it by its digest. */
  private throughRegistry(
    name: string,
    args: SandboxImageArgs,
    image: docker.RemoteImage,
    content: string,
    { address, user, password }: ImageRegistry,
  ): pulumi.Output<string> | undefined {
    const STACK = pulumi.getStack();
    const repository = pulumi.interpolate`${address}/microsandbox-${STACK}`;
    const REGISTRY = pulumi.output(address).apply((registry) => registry.split("/")[0] ?? registry);
    const login = pulumi
      .all([user, password])
      .apply(
        ([name, secret]): Record<string, string> =>
          name && secret ? { REGISTRY_USER: name, REGISTRY_PASSWORD: secret } : {},
      );
    // Hosts of a stack may be built from other bases: not under one tag.
    const tag = pulumi
      .all([args.debianVersion, args.registryPrefix, args.versionSha256])
      .apply((bases) => shortHash([content, ...bases]));
    const LIST = pulumi.interpolate`${repository}:${args.version}-${tag}`;
    const pushed = new command.local.Command(
      `${name}-push`,
      {
        create: "sh -s",
        stdin: pulumi.secret(
          pulumi
            .all([image.name, args.architecture, LIST, REGISTRY, login])
            .apply(([REFERENCE, ARCHITECTURE, list, registry, secrets]) =>
              withVariables(
                { REFERENCE, ARCHITECTURE, LIST: list, REGISTRY: registry, STACK },
                script("image/push-image"),
                secrets,
              ),
            ),
        ),
        triggers: [image.name, LIST],
        logging: "stderr",
      },
      { parent: this },
    );
    const digest = pushed.stdout.apply((stdout) => stdout.trim());
    if (!args.transfer) return undefined;

    const connection = pulumi.output(args.transfer.connection);
    // Another name than that of an image which was sent: of two resources the later one goes, with its image.
    const pulled = pulumi
      .all([image.name, digest])
      .apply(([reference, sha256]) => `${reference}-${sha256.slice("sha256:".length, 19)}`);
    const stdin = pulumi
      .all([digest, pulled, repository, REGISTRY, login])
      .apply(([sha256, REFERENCE, from, registry, secrets]) =>
        withVariables(
          { SOURCE: `${from}@${sha256}`, REFERENCE, REGISTRY: registry, STACK },
          script("image/pull-image"),
          secrets,
        ),
      );
    return this.onHost(name, connection, pulled, {
      create: connection.apply(hostShell),
      stdin: pulumi.secret(stdin),
      triggers: [digest],
    });
  }

  /**
   * A command that brings the image to the host and prints its id there. The image goes with the resource, unless a
   * container is made of it: then it is the one that a later resource has brought under the same name.
   */
  private onHost(
    name: string,
    connection: pulumi.Output<Connection>,
    reference: pulumi.Output<string>,
    inputs: Pick<command.local.CommandArgs, "create" | "stdin" | "triggers">,
  ): pulumi.Output<string> {
    const loaded = new command.local.Command(
      `${name}-load`,
      {
        ...inputs,
        delete: pulumi
          .all([connection, reference])
          .apply(([host, image]) => `${remoteCommand(host, `docker image rm ${shellQuote(image)}`)} || true`),
        logging: "stderr",
      },
      { parent: this },
    );
    return loaded.stdout.apply((stdout) => stdout.trim());
  }
}

function shortHash(value: unknown): string {
  return createHash("sha256").update(JSON.stringify(value)).digest("hex").slice(0, 12);
}
