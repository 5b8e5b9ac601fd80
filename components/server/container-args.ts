import type * as docker from "@pulumi/docker";
import * as pulumi from "@pulumi/pulumi";
import { labels } from "../host/labels";
import { hostNameOf } from "../host/names";
import { type ContainerSettings, environment, isolation, lifecycle, resourceLimits } from "./container";
import { serverHome } from "./stack-files";
import { type Transform, transformed } from "./transform";

/** All that the server's container is made of, its image and its network aside. */
export interface ServerContainer extends ContainerSettings {
  /** Id of the deployment, for the labels. */
  deployment: pulumi.Input<string>;
  /** The container's name is `<baseName>-server`. */
  baseName: pulumi.Input<string>;
  /** microsandbox version, for the label. */
  version: pulumi.Input<string>;
  /** Names of the two volumes. */
  volumes: { state: pulumi.Input<string>; workspace: pulumi.Input<string> };
  /** Port on the host, and the address that it is bound to. */
  hostPort: pulumi.Input<number>;
  publishAddress: pulumi.Input<string>;
  /** Changes of the args of the container and of the network. */
  transform?: { container?: Transform<docker.ContainerArgs>; network?: Transform<docker.NetworkArgs> };
}

/** The arguments of the server's container. Whatever the engine would fill in is set, so that a refresh finds no difference. */
export function containerArgs(
  args: ServerContainer,
  image: pulumi.Input<string>,
  network: pulumi.Input<string>,
): docker.ContainerArgs {
  const own: docker.ContainerArgs = {
    name: pulumi.interpolate`${args.baseName}-server`,
    image,
    hostname: pulumi.output(args.baseName).apply(hostNameOf),
    ...isolation(args),
    ...resourceLimits(args),
    ...lifecycle(args),
    envs: environment(args),
    networksAdvanced: [{ name: network }],
    networkMode: "bridge",
    ports: [{ internal: args.port, external: args.hostPort, ip: args.publishAddress, protocol: "tcp" }],
    volumes: [
      { volumeName: args.volumes.state, containerPath: serverHome },
      { volumeName: args.volumes.workspace, containerPath: "/workspace" },
    ],
    labels: pulumi
      .all([args.deployment, args.version])
      .apply(([id, version]) => labels("server", id, version)),
  };
  return transformed(own, args.transform?.container, {
    fields: ["name", "image"],
    lists: { labels: "label", volumes: "containerPath" },
  });
}
