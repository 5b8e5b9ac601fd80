import type * as pulumi from "@pulumi/pulumi";

/** What the server allows its users at most. Without a value the server's own default holds. */
export interface LimitsArgs {
  /**
   * Sandboxes that run at once; 1000 if not set.
   * Accepted: a whole number from 1 to 100000.
   * @example 20
   */
  sandboxes?: pulumi.Input<number>;
  /**
   * Sandboxes in all, those that don't run too; 10000 if not set.
   * Accepted: a whole number from 1 to 1000000.
   * @example 200
   */
  totalSandboxes?: pulumi.Input<number>;
  /**
   * Memory promised to all running sandboxes together. If not set, `memoryLimit` less what the server needs: an eighth, 512 MiB at least, a quarter at most.
   * Accepted: a whole number from 64 to 67108864.
   * @example 8192
   */
  memoryMiB?: pulumi.Input<number>;
  /**
   * CPUs promised to all running sandboxes together; four times `cpuLimit` if not set.
   * Accepted: a whole number from 1 to 4096.
   * @example 8
   */
  cpus?: pulumi.Input<number>;
  /**
   * Memory that one sandbox may ask for; `memoryMiB` if not set.
   * Accepted: a whole number from 64 to 67108864.
   * @example 2048
   */
  sandboxMemoryMiB?: pulumi.Input<number>;
  /**
   * CPUs that one sandbox may ask for; `cpuLimit`, but 2 at least, if not set.
   * Accepted: a whole number from 1 to 4096.
   * @example 2
   */
  sandboxCpus?: pulumi.Input<number>;
  /**
   * Life time of a sandbox whose client has set none, and the longest that one may set: then it is stopped, its disk stays. 604800 (7 days) if not set, 0 for none.
   * Accepted: a whole number from 0 to 31536000.
   * @example 86400
   */
  maxDuration?: pulumi.Input<number>;
  /**
   * Time without use after which a sandbox is stopped whose client has set none, and the longest that one may set. 86400 (a day) if not set, 0 for none.
   * Accepted: a whole number from 0 to 31536000.
   * @example 3600
   */
  idleTimeout?: pulumi.Input<number>;
  /**
   * Volumes; 1000 if not set.
   * Accepted: a whole number from 1 to 100000.
   * @example 50
   */
  volumes?: pulumi.Input<number>;
  /**
   * Capacity promised to all volumes that have one together; the size of the state volume's disk if not set.
   * Accepted: a whole number from 1 to 16777216.
   * @example 500
   */
  volumeGiB?: pulumi.Input<number>;
  /**
   * Room that cached images may take: before a pull beyond it, those go that nobody used for the longest. Half of the state volume's disk if not set.
   * Accepted: a whole number from 1 to 16777216.
   * @example 100
   */
  imageGiB?: pulumi.Input<number>;
  /**
   * Size of a file that is uploaded to a volume; 17179869184 (16 GiB) if not set.
   * Accepted: a whole number from 1 to 17592186044416.
   * @example 1073741824
   */
  uploadBytes?: pulumi.Input<number>;
  /**
   * Uploads at once, of all keys; one key gets half of them at most. 256 if not set.
   * Accepted: a whole number from 1 to 100000.
   * @example 32
   */
  uploads?: pulumi.Input<number>;
  /**
   * Free room on a disk, a tenth of it at most, below which creates and uploads are refused; 1024 if not set.
   * Accepted: a whole number from 0 to 1048576.
   * @example 4096
   */
  diskReserveMiB?: pulumi.Input<number>;
  /**
   * Size of a request's body; 2 MiB if not set.
   * Accepted: a whole number from 1024 to 1073741824.
   * @example 1048576
   */
  bodyBytes?: pulumi.Input<number>;
  /**
   * Requests per second with one key, bursts of twice as many aside; 500 if not set.
   * Accepted: a whole number from 1 to 1000000.
   * @example 100
   */
  requestsPerSecond?: pulumi.Input<number>;
  /**
   * Terminals, transfers and log streams open at once with one key; 2000 if not set.
   * Accepted: a whole number from 1 to 1000000.
   * @example 200
   */
  connections?: pulumi.Input<number>;
}
