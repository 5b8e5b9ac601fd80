import type * as docker from "@pulumi/docker";
import type * as pulumi from "@pulumi/pulumi";
import type { StateResources } from "../host/deployment";
import type { Transform } from "../server/transform";

/** How commands reach the host of a server. */
export interface HostConnection {
  /** `local` or `ssh`. */
  kind: string;
  user?: string;
  address?: string;
  port?: number;
  /** Path of a private key file; the SSH agent and ~/.ssh/config are used when it is left out. */
  identityFile?: string;
  /** Path of a known_hosts file; the user's own is used when it is left out. */
  knownHostsFile?: string;
  /** Public keys of the host; the known_hosts files are used when it is left out. */
  hostKey?: string;
}

/** Where a server is. */
export interface ServerLocation {
  /** Name of its container. */
  container: string;
  connection: HostConnection;
}

/**
 * Options of a service: those of every component, and some for TypeScript programs only. A `docker` provider is used for
 * the container, the network and the volumes; it must connect to the engine of `host`.
 */
export interface MicrosandboxOptions extends pulumi.ComponentResourceOptions {
  /**
   * Prefix of all names on the host. Set it to keep the names of an existing deployment.
   * @default project, name and stack
   * @example "sandboxes-dev"
   */
  baseName?: string;
  /**
   * Changes the arguments of the resources on the host: labels, another network, other log drivers. The service's own
   * names, image, labels and mounts stay; the trial of an upgrade runs with the changes too. Labels of a network or volume
   * that exists, and the options of such a network, stay as they are.
   * @example { container: { dns: ["10.0.0.2"] }, volumes: (args) => ({ ...args, driver: "zfs" }) }
   */
  transform?: {
    container?: Transform<docker.ContainerArgs>;
    network?: Transform<docker.NetworkArgs>;
    volumes?: Transform<docker.VolumeArgs>;
  };
  /** Name of the host in error messages, if a program has several. */
  hostName?: string;
  /** @internal The key that services share which have none of their own. @default one for this service */
  madeKey?: pulumi.Output<string>;
  /** @internal The stack's state before this run, where several services look at it. @default read for this service */
  state?: Promise<StateResources>;
}
