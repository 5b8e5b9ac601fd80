import { createHash } from "node:crypto";
import { join } from "node:path";
import * as command from "@pulumi/command";
import * as docker from "@pulumi/docker";
import * as pulumi from "@pulumi/pulumi";
import { type Connection, hostShell, remoteCommand, shellQuote, withVariables } from "../host/connection";
import { packageRoot, script } from "../host/scripts";
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
  versionSha256?: { amd64?: string; arm64?: string };
  /** Tag of the Debian image that the build starts from. @example "13.2-slim" */
  debianVersion: string;
  /** Registry in front of the base image's name, empty or ending in "/". @default "" */
  registryPrefix?: string;
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
  address: string;
  /** User and password; without them each engine's own `docker login` holds. */
  user?: string;
  password?: string;
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
    const context = join(packageRoot, "docker");
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
      .all([args.version, args.architecture])
      .apply(([version, architecture]): { [name: string]: string } => {
        const sha256 = args.versionSha256?.[architecture];
        return {
          REGISTRY_PREFIX: args.registryPrefix ?? "",
          DEBIAN_VERSION: args.debianVersion,
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
    const REGISTRY = address.split("/")[0] ?? address;
    const login: Record<string, string> =
      user && password ? { REGISTRY_USER: user, REGISTRY_PASSWORD: password } : {};
    const STACK = pulumi.getStack();
    const repository = `${address}/microsandbox-${STACK}`;
    // Hosts of a stack may be built from other bases: not under one tag.
    const tag = shortHash([content, args.debianVersion, args.registryPrefix, args.versionSha256]);
    const LIST = pulumi.output(args.version).apply((version) => `${repository}:${version}-${tag}`);
    const pushed = new command.local.Command(
      `${name}-push`,
      {
        create: "sh -s",
        stdin: pulumi.secret(
          pulumi
            .all([image.name, args.architecture, LIST])
            .apply(([REFERENCE, ARCHITECTURE, list]) =>
              withVariables(
                { REFERENCE, ARCHITECTURE, LIST: list, REGISTRY, STACK },
                script("image/push-image"),
                login,
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
      .all([digest, pulled])
      .apply(([sha256, REFERENCE]) =>
        withVariables(
          { SOURCE: `${repository}@${sha256}`, REFERENCE, REGISTRY, STACK },
          script("image/pull-image"),
          login,
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
