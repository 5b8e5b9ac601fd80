import type * as pulumi from "@pulumi/pulumi";

/** Limits that the server enforces. Without a value the server's default applies. */
export interface LimitsArgs {
  /**
   * Number of running sandboxes; 1000 if not set.
   * Accepted: a whole number from 1 to 100000.
   * @example 20
   */
  sandboxes?: pulumi.Input<number>;
  /**
   * Number of sandboxes, running or not; 10000 if not set.
   * Accepted: a whole number from 1 to 1000000.
   * @example 200
   */
  totalSandboxes?: pulumi.Input<number>;
  /**
   * Memory of all running sandboxes together. If not set, `memoryLimit` minus a reserve for the server: an eighth of it, but at least 512 MiB and at most a quarter.
   * Accepted: a whole number of MiB from 64 to 67108864.
   * @example 3072
   */
  memoryMiB?: pulumi.Input<number>;
  /**
   * CPUs of all running sandboxes together; four times `cpuLimit` if not set.
   * Accepted: a whole number of CPUs from 1 to 4096.
   * @example 8
   */
  cpus?: pulumi.Input<number>;
  /**
   * Memory of one sandbox; `memoryMiB` if not set.
   * Accepted: a whole number of MiB from 64 to 67108864.
   * @example 2048
   */
  sandboxMemoryMiB?: pulumi.Input<number>;
  /**
   * CPUs of one sandbox; `cpuLimit`, but at least 2, if not set.
   * Accepted: a whole number of CPUs from 1 to 4096.
   * @example 2
   */
  sandboxCpus?: pulumi.Input<number>;
  /**
   * Longest lifetime of a sandbox, and its lifetime if the client sets none. It is then stopped; its disk stays. 604800 (7 days) if not set; 0 is no limit.
   * Accepted: a whole number of seconds from 0 to 31536000.
   * @example 86400
   */
  maxDuration?: pulumi.Input<number>;
  /**
   * Longest idle time of a sandbox, and its idle time if the client sets none. It is then stopped; its disk stays. 86400 (a day) if not set; 0 is no limit.
   * Accepted: a whole number of seconds from 0 to 31536000.
   * @example 3600
   */
  idleTimeout?: pulumi.Input<number>;
  /**
   * Idle time after which a sandbox is paused, until it is next used: its memory stays, its processes stand still. 0 (never) if not set.
   * Accepted: a whole number of seconds from 0 to 31536000.
   * @example 600
   */
  idlePause?: pulumi.Input<number>;
  /**
   * Number of volumes; 1000 if not set.
   * Accepted: a whole number from 1 to 100000.
   * @example 50
   */
  volumes?: pulumi.Input<number>;
  /**
   * Total GiB of all volumes: the capacity of those that have one, and the files in the others; the size of the state volume's disk if not set.
   * Accepted: a whole number of GiB from 1 to 16777216.
   * @example 500
   */
  volumeGiB?: pulumi.Input<number>;
  /**
   * Snapshots, each a full copy of a disk; 1000 if not set.
   * Accepted: a whole number from 1 to 10000.
   * @example 40
   */
  snapshots?: pulumi.Input<number>;
  /**
   * Disk space for cached images: before a pull that would exceed it, the least recently used ones are removed. Half of the state volume's disk if not set.
   * Accepted: a whole number of GiB from 1 to 16777216.
   * @example 100
   */
  imageGiB?: pulumi.Input<number>;
  /**
   * Size of one file uploaded to a volume; 17179869184 (16 GiB) if not set.
   * Accepted: a whole number of bytes from 1 to 17592186044416.
   * @example 1073741824
   */
  uploadBytes?: pulumi.Input<number>;
  /**
   * Concurrent uploads of all keys; one key gets at most half of them. 256 if not set.
   * Accepted: a whole number from 1 to 100000.
   * @example 32
   */
  uploads?: pulumi.Input<number>;
  /**
   * Free disk space, at most a tenth of the disk, below which creates, pulls and uploads are refused; 1024 if not set.
   * Accepted: a whole number of MiB from 0 to 1048576.
   * @example 4096
   */
  diskReserveMiB?: pulumi.Input<number>;
  /**
   * Size of a request body; 2 MiB if not set.
   * Accepted: a whole number of bytes from 1024 to 1073741824.
   * @example 1048576
   */
  bodyBytes?: pulumi.Input<number>;
  /**
   * Requests per second of one key, with bursts of up to twice as many; 500 if not set.
   * Accepted: a whole number from 1 to 1000000.
   * @example 100
   */
  requestsPerSecond?: pulumi.Input<number>;
  /**
   * Open terminals, transfers and log streams of one key; 2000 if not set.
   * Accepted: a whole number from 1 to 1000000.
   * @example 200
   */
  connections?: pulumi.Input<number>;
}
