import * as docker from "@pulumi/docker";
import * as pulumi from "@pulumi/pulumi";
import { namingHost, VisibleError } from "../settings/visible-error";
import { askHost } from "./ask-host";
import { awaitHost } from "./await-host";
import { type Connection, connectionOf, dockerHost, remoteCommand, sshFlags } from "./connection";
import type { Recorded } from "./deployment";
import { EmulatedHost, emulatedHostTool } from "./emulated-host";
import {
  preflightScript,
  publishAddressOf,
  refuseForeign,
  usableEngine,
  type VolumeNames,
} from "./engine-verdict";
import { cutOffReplacement, leftovers, removeLeftovers } from "./leftovers";
import { movedHost } from "./moved-host";
import type { PreflightReport } from "./preflight-report";

/** Said, since a context of the environment (DOCKER_CONTEXT) would else take the place of the provider's host. */
export const NO_CONTEXT = "";

export interface DockerHostArgs {
  /** Name of the host among several, for error messages. */
  hostName?: string;
  /** What kind of host it is: known before its address is. */
  kind: "local" | "ssh" | "emulated";
  /** Where the Docker engine is. @example "local", "ssh://root@10.1.2.3", "emulated" */
  host: pulumi.Input<string>;
  /** Private key file for ssh hosts. @default the SSH agent */
  sshKeyFile?: pulumi.Input<string | undefined>;
  /** known_hosts file for ssh hosts. @default the user's own */
  sshKnownHostsFile?: pulumi.Input<string | undefined>;
  /** Public keys of an ssh host, `TYPE BASE64`, one a line. @default what known_hosts has */
  sshHostKey?: pulumi.Input<string | undefined>;
  /** Whether the same program creates the host: it may not have started yet. @default false */
  isNew?: boolean;
  /** Processor of the host, or `auto` to ask the engine. An emulated host gets it; `auto` is this machine's own. */
  architecture?: "auto" | "amd64" | "arm64";
  /** Name of the server's container: a port that it holds is not taken. */
  containerName: string;
  /** Prefix of names on this machine, and the name of the server's network. */
  baseName: string;
  /** Names of the server's volumes, by the last part of the setting that names them. */
  volumes: pulumi.Input<VolumeNames>;
  /** Id of the deployment, which an emulated host is used by. */
  deployment: pulumi.Input<string>;
  /** What the state has of the service. */
  recorded: pulumi.Input<Recorded>;
  /** Port on the host that the server will hold. */
  hostPort: pulumi.Input<number>;
  /** Address that the port is bound to. */
  bindAddress: pulumi.Input<string>;
  /** Provider of its engine, where there is one already. @default one for this host */
  engine?: pulumi.ProviderResource;
  /** Memory (MiB) and disk (GiB) of an emulated host, and whether its disk outlives a destroy. */
  emulated: { memoryMiB: pulumi.Input<number>; diskGiB: pulumi.Input<number>; keepDisk: boolean };
}

/**
 * A host: this machine, a machine over SSH, or an emulated one. Each preview and up first asks its engine
 * whether the stack can run there (version, permission, a free port); nothing is made before it can.
 *
 * @example const host = new DockerHost("host", { kind: "local", host: "local", containerName, hostPort: 5555, … })
 */
export class DockerHost extends pulumi.ComponentResource {
  /** How to reach the host. */
  readonly connection: pulumi.Output<Connection>;
  /** What the preflight found. */
  readonly preflight: pulumi.Output<PreflightReport>;
  /** Provider of its engine. It starts while the host is still being checked, and makes nothing by itself. */
  readonly engine: pulumi.ProviderResource;
  /** Provider of the engine that builds its image. */
  readonly builder: pulumi.ProviderResource;
  /** Processor of the host. */
  readonly architecture: pulumi.Output<"amd64" | "arm64">;
  /** Command line that reads an image archive on standard input and loads it, where images are not built on the host. */
  readonly imageLoader: pulumi.Output<string> | undefined;

  constructor(name: string, args: DockerHostArgs, opts?: pulumi.ComponentResourceOptions) {
    super("microsandbox:index:DockerHost", name, {}, opts);
    const { architecture = "auto" } = args;

    this.connection = this.connect(name, args);
    const { containerName, baseName, hostName, volumes } = args;
    const stdin = pulumi
      .all([args.hostPort, publishAddress(args), volumes])
      .apply(([hostPort, address, names]) =>
        preflightScript({ containerName, baseName, volumes: names, hostPort, publishAddress: address }),
      );
    const stack = { project: pulumi.getProject(), stack: pulumi.getStack() };
    const answer = askHost(this.connection, stdin, { parent: this, hostName });
    const asked = pulumi.all([answer, args.recorded, volumes, this.connection]);
    this.preflight = asked.apply(async ([stdout, recorded, names, connection]) => {
      const report = namingHost(hostName, () => {
        const found = usableEngine(stdout, architecture);
        refuse(
          movedHost(recorded, { kind: args.kind, connection, isNew: args.isNew ?? false }, found.objects),
        );
        refuseForeign(found, { ...recorded, ...stack, containerName, volumes: names });
        // A preview with --refresh has a state that is not in the backend yet.
        if (!pulumi.runtime.isDryRun()) refuse(cutOffReplacement(found.objects, recorded, stack.stack));
        return found;
      });
      await removeLeftovers(connection, leftovers(report.objects, recorded), this);
      return report;
    });
    this.engine =
      args.engine ??
      new docker.Provider(
        `${name}-engine`,
        {
          host: this.connection.apply(dockerHost),
          context: NO_CONTEXT,
          sshOpts: this.connection.apply(sshFlags),
        },
        { parent: this },
      );
    // An image for another machine is built by this machine's engine.
    this.builder =
      args.kind === "local"
        ? this.engine
        : new docker.Provider(
            `${name}-builder`,
            { host: dockerHost({ kind: "local" }), context: NO_CONTEXT },
            { parent: this },
          );
    this.architecture = this.preflight.apply(({ engine }) => (engine?.arch === "arm64" ? "arm64" : "amd64"));
    this.imageLoader = this.loader(args);

    this.registerOutputs({ connection: this.connection, architecture: this.architecture });
  }

  private connect(name: string, args: DockerHostArgs): pulumi.Output<Connection> {
    if (args.kind === "emulated") {
      // Checked before the machine is created, which takes minutes.
      const after = pulumi
        .output(args.recorded)
        .apply((recorded) =>
          namingHost(args.hostName, () => refuse(movedHost(recorded, { kind: "emulated" }, []))),
        );
      return new EmulatedHost(
        `${name}-emulated`,
        {
          hostName: args.baseName,
          owner: args.deployment,
          recordedOwner: pulumi.output(args.recorded).apply(({ deployment }) => deployment),
          after,
          hostPort: args.hostPort,
          bindAddress: args.bindAddress,
          architecture: args.architecture === "auto" ? undefined : args.architecture,
          ...args.emulated,
        },
        { parent: this },
      ).connection;
    }
    const connection = pulumi
      .all([args.host, args.sshKeyFile, args.sshKnownHostsFile, args.sshHostKey])
      .apply(([host, sshKeyFile, sshKnownHostsFile, sshHostKey]) =>
        connectionOf({ host, sshKeyFile, sshKnownHostsFile, sshHostKey }),
      );
    return args.isNew ? awaitHost(connection, { parent: this, hostName: args.hostName }) : connection;
  }

  private loader(args: DockerHostArgs): pulumi.Output<string> | undefined {
    if (args.kind === "local") return undefined;
    if (args.kind === "emulated") {
      // Through the connection: the host has to run first.
      return this.connection.apply(() => `${emulatedHostTool()} load-image ${args.baseName} -`);
    }
    return this.connection.apply((connection) => remoteCommand(connection, "docker load"));
  }
}

/** The address the port is published on, {@link publishAddressOf} of inputs. */
export const publishAddress = ({
  kind,
  bindAddress,
}: Pick<DockerHostArgs, "kind" | "bindAddress">): pulumi.Output<string> =>
  pulumi.output(bindAddress).apply((address) => publishAddressOf(kind, address));

/** @throws VisibleError where there is a reason */
function refuse(reason: string | undefined): void {
  if (reason) throw new VisibleError(reason);
}
