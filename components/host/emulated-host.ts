import * as command from "@pulumi/command";
import * as pulumi from "@pulumi/pulumi";
import { shellQuote } from "../settings/shell";
import { VisibleError } from "../settings/visible-error";
import type { Connection } from "./connection";
import { tooLongForEmulated } from "./names";
import { packageRoot } from "./scripts";

export interface EmulatedHostArgs {
  /** Name of the host on this machine; its files live under it. @example "microsandbox-emulated" */
  hostName: string;
  /** Id of the deployment that uses it. A host that another one uses is not touched. @default nobody's */
  owner?: pulumi.Input<string>;
  /** The same as the last run of the program has left it in the state, for previews. */
  recordedOwner?: pulumi.Input<string | undefined>;
  /** What has to be known before it is made: an error in it fails the host. */
  after?: pulumi.Input<unknown>;
  /** Port of the server, forwarded from this machine to the same port of the host. */
  hostPort: pulumi.Input<number>;
  /** Address of this machine that the port is opened on. @default "127.0.0.1" */
  bindAddress?: pulumi.Input<string>;
  /** Processor to emulate. @default this machine's own */
  architecture?: "amd64" | "arm64";
  /** Memory of the host in MiB. @default 6144 */
  memoryMiB?: pulumi.Input<number>;
  /** Size of the host's disk in GiB; it is sparse. @default 20 */
  diskGiB?: pulumi.Input<number>;
  /** Whether the disk, and the volumes on it, outlive `pulumi destroy`. @default true */
  keepDisk?: boolean;
}

/**
 * A QEMU machine with a working /dev/kvm, for machines that have none: it emulates the processor with its
 * virtualization, so real microVMs boot in it (slowly). A dead QEMU is noticed by the next preview or up: the
 * number of starts that the state should hold then grows by one, which is an update of the command resource.
 *
 * @example new EmulatedHost("host", { hostName: "microsandbox-emulated", hostPort: 5555 })
 */
export class EmulatedHost extends pulumi.ComponentResource {
  /** SSH connection to the host, on loopback, with a host key that is known beforehand. */
  readonly connection: pulumi.Output<Connection>;

  constructor(name: string, args: EmulatedHostArgs, opts?: pulumi.ComponentResourceOptions) {
    super("microsandbox:index:EmulatedHost", name, {}, opts);
    const {
      hostName,
      hostPort,
      bindAddress = "127.0.0.1",
      memoryMiB = 6144,
      diskGiB = 20,
      keepDisk = true,
    } = args;
    const tooLong = tooLongForEmulated(hostName, pulumi.getStack());
    if (tooLong) throw new VisibleError(tooLong);
    const tool = emulatedHostTool();

    const status = command.local.runOutput(
      {
        command: `${tool} status "$EMULATED_HOST"`,
        environment: { EMULATED_HOST: hostName },
        logging: "none",
      },
      { parent: this },
    );
    const start =
      `${tool} start "$EMULATED_HOST" --port "$SERVER_PORT" --memory-mib "$MEMORY_MIB" ` +
      `--disk-gib "$DISK_GIB" --server-address "$SERVER_ADDRESS" --generation "$GENERATION"` +
      (args.architecture ? ` --architecture ${args.architecture}` : "") +
      (args.owner === undefined ? "" : ' --owner "$OWNER"');
    const mayUse = pulumi.all([status.stdout, args.recordedOwner]).apply(([stdout, recorded]) => {
      const reason =
        args.owner === undefined ? undefined : foreignHost(hostName, JSON.parse(stdout), recorded);
      if (reason) throw new VisibleError(reason);
    });
    const machine = new command.local.Command(
      `${name}-machine`,
      {
        create: start,
        update: start,
        delete:
          `${tool} delete "$EMULATED_HOST"${keepDisk ? " --keep-disk" : ""}` +
          (args.owner === undefined ? "" : ' --owner "$OWNER"'),
        environment: {
          EMULATED_HOST: pulumi.all([args.after, mayUse]).apply(() => hostName),
          SERVER_ADDRESS: bindAddress,
          SERVER_PORT: pulumi.interpolate`${hostPort}`,
          MEMORY_MIB: pulumi.interpolate`${memoryMiB}`,
          DISK_GIB: pulumi.interpolate`${diskGiB}`,
          ...(args.owner === undefined ? {} : { OWNER: args.owner }),
          GENERATION: status.stdout.apply((stdout) => String(JSON.parse(stdout).wanted)),
        },
        logging: "stderr",
      },
      { parent: this },
    );
    this.connection = machine.stdout.apply(parseStarted);

    this.registerOutputs({ connection: this.connection });
  }
}

/** Why the program may not use a host; undefined where it may. */
function foreignHost(
  name: string,
  { owner }: { owner?: string },
  recorded: string | undefined,
): string | undefined {
  if (!owner || owner === recorded) return undefined;
  return (
    `The emulated host ${name} is used by another deployment of a stack of that name: from another checkout, or its ` +
    "state was lost. The host was not changed.\n" +
    "  to deploy beside it: use another stack name\n" +
    `  to stop it there and use it and its volumes here: ${emulatedHostTool()} delete ${name} --keep-disk`
  );
}

/** Command line of the tool that makes, starts and removes emulated hosts. */
export function emulatedHostTool(): string {
  return `bash ${shellQuote(`${packageRoot()}/emulated-host/emulated-host.sh`)}`;
}

/** The connection in the one line of JSON that `start` prints. */
export function parseStarted(stdout: string): Connection {
  const started = JSON.parse(stdout);
  return {
    kind: "ssh",
    user: started.sshUser,
    address: started.sshAddress,
    port: started.sshPort,
    identityFile: started.identityFile,
    knownHostsFile: started.knownHostsFile,
  };
}
