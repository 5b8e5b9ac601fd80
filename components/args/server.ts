import type * as pulumi from "@pulumi/pulumi";
import type { VolumesArgs } from "./groups";

/** The container of the server. */
export interface ServerArgs {
  /**
   * Run the server in a privileged container; `false` gives it /dev/kvm and no other privilege.
   * @default true
   * @example false
   */
  privileged?: boolean;
  /**
   * Time zone of the server.
   * Accepted: a name of the IANA time zone database, like UTC or Europe/Berlin.
   * @default "UTC"
   * @example "Europe/Berlin"
   */
  timezone?: pulumi.Input<string>;
  /**
   * CPU limit for the server and all its sandboxes together.
   * Accepted: a number of CPUs from 0.1 to 1024, like 2 or 0.5.
   * @default 4
   * @example 0.5
   */
  cpuLimit?: pulumi.Input<number>;
  /**
   * CPU weight on a busy host (CPU shares, 1024 per CPU); at most `cpuLimit`.
   * Accepted: a number of CPUs from 0.1 to 1024, like 2 or 0.5.
   * @default 1
   * @example 2
   */
  cpuReservation?: pulumi.Input<number>;
  /**
   * Memory limit for the server and all its sandboxes together.
   * Accepted: a size from 256M to 64T in whole mebibytes, like 4G, 512M or 1.5g.
   * @default "4G"
   * @example "16G"
   */
  memoryLimit?: pulumi.Input<string>;
  /**
   * Memory that the server keeps when the host runs short of it (Docker's soft limit); at most `memoryLimit`.
   * Accepted: a size from 64M to 64T in whole mebibytes, like 4G, 512M or 1.5g.
   * @default "1G"
   * @example "512M"
   */
  memoryReservation?: pulumi.Input<string>;
  /**
   * Limit of processes and threads in the container; those inside sandboxes do not count.
   * Accepted: a whole number from 64 to 4194304.
   * @default 4096
   * @example 16384
   */
  pidsLimit?: pulumi.Input<number>;
  /** The server's two volumes: their names, and whether `destroy` keeps them. */
  volumes?: VolumesArgs;
  /**
   * Number of copies of the state, made before upgrades, to keep on the state volume.
   * Accepted: a whole number from 0 to 100.
   * @default 2
   * @example 5
   */
  upgradeCopies?: pulumi.Input<number>;
  /**
   * Time that running sandboxes get to stop when the server stops.
   * Accepted: a whole number of seconds from 1 to 3600.
   * @default 60
   * @example 120
   */
  stopTimeout?: pulumi.Input<number>;
  /**
   * Size at which the container's log file is rotated.
   * Accepted: a whole number with k, m or g, like 100m.
   * @default "100m"
   * @example "20m"
   */
  logMaxSize?: pulumi.Input<string>;
  /**
   * Number of log files to keep.
   * Accepted: a whole number from 1 to 1000.
   * @default 3
   * @example 5
   */
  logMaxFiles?: pulumi.Input<number>;
}
