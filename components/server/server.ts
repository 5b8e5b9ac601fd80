import * as command from "@pulumi/command";
import * as docker from "@pulumi/docker";
import * as pulumi from "@pulumi/pulumi";
import { type Connection, hostShell } from "../host/connection";
import { labels } from "../host/labels";
import { resourceLimits } from "./container";
import { containerArgs, type ServerContainer } from "./container-args";
import { writeServerFile } from "./server-file";
import { serverUser } from "./server-user";
import { transformed } from "./transform";
import { VolumeOwner } from "./volume-owner";

export interface ServerArgs extends ServerContainer {
  /** Id of the server's image in the host's engine. */
  imageId: pulumi.Input<string>;
  /** How to reach the host, for what the provider can't set. */
  connection: pulumi.Input<Connection>;
  /** Largest packet of the network in bytes. @default the engine's own */
  mtu?: pulumi.Input<number | null>;
  /** Ranges of the host's public addresses, which guests may not reach. They may change under a server that runs. */
  hostRanges: pulumi.Input<string[]>;
}

/**
 * Arguments of the container that the provider neither updates nor replaces it for: it takes a change of them into
 * the state, and the container stays as it is. The CPU quota is another one, which is updated by a command of ours.
 */
const notUpdated = ["tmpfs", "init", "healthcheck"] as const;

/** The option of a bridge network that says how large its packets are. */
const MTU = "com.docker.network.driver.mtu";

/**
 * The server: one container in a network of its own, with /dev/kvm and both volumes. The resource is done when
 * the container is healthy. Whatever the engine would fill in is set here, so that a refresh finds no difference.
 *
 * @example new Server("server", { baseName, imageId: image.imageId, volumes: storage, … }, { provider })
 */
export class Server extends pulumi.ComponentResource {
  /** Name of the container. */
  readonly containerName: pulumi.Output<string>;
  /** Id of the container: new with every replacement. */
  readonly containerId: pulumi.Output<string>;
  readonly container: docker.Container;
  readonly network: docker.Network;
  /** Settled once the container is healthy and fully configured. */
  readonly ready: pulumi.Resource;

  constructor(name: string, args: ServerArgs, opts?: pulumi.ComponentResourceOptions) {
    super("microsandbox:index:Server", name, {}, opts);

    const deployment = pulumi.output(args.deployment);
    const containerName = pulumi.interpolate`${args.baseName}-server`;
    const ofNetwork = {
      name: args.baseName,
      driver: "bridge",
      labels: deployment.apply((id) => labels("network", id)),
      options: pulumi
        .output(args.mtu)
        .apply((mtu): Record<string, string> => (mtu ? { [MTU]: String(mtu) } : {})),
    };
    const network = new docker.Network(
      `${name}-network`,
      transformed<docker.NetworkArgs>(ofNetwork, args.transform?.network, {
        fields: ["name"],
        lists: { labels: "label" },
      }),
      // An older one has other labels and no options, and would be replaced.
      { parent: this, ignoreChanges: ["labels", "options"] },
    );
    const owner = args.privileged
      ? undefined
      : new VolumeOwner(`${name}-volumes`, { ...args, containerName, user: serverUser }, { parent: this });
    const container = new docker.Container(
      `${name}-container`,
      containerArgs(args, args.imageId, network.name),
      {
        parent: this,
        deleteBeforeReplace: true,
        dependsOn: owner ? [owner.done] : [],
        replaceOnChanges: [...notUpdated],
      },
    );
    this.network = network;
    this.container = container;
    this.containerName = container.name;
    this.containerId = container.id;

    const writeRanges = pulumi
      .all([container.name, args.hostRanges])
      .apply(([server, ranges]) => writeServerFile(server, "hostRanges", JSON.stringify(ranges)));
    // The provider has no setting for the one, and gives the others to a new container only.
    const { cpuPeriod, cpuQuota } = resourceLimits(args);
    this.ready = new command.local.Command(
      `${name}-pids-limit`,
      {
        create: pulumi.output(args.connection).apply(hostShell),
        stdin: pulumi.interpolate`set -e
docker update --pids-limit ${args.pidsLimit} --cpu-period ${cpuPeriod} --cpu-quota ${cpuQuota} ${container.name}
${writeRanges}`,
        triggers: [container.id],
        logging: "none",
      },
      { parent: this, deleteBeforeReplace: true },
    );

    this.registerOutputs({ containerName: this.containerName });
  }
}
