/** A further API key, of which only the hash is stored. */
export interface KeyArgs {
  /**
   * Id of the key, which logs show. Accepted: 1 to 64 letters, digits or . _ -.
   * @example "ci"
   */
  id: string;
  /**
   * `sha256:` and the SHA-256 of the key in 64 hexadecimal digits.
   * @example "sha256:0000000000000000000000000000000000000000000000000000000000000000"
   */
  hash: string;
  /**
   * When it was created; for information. Accepted: a time with its offset, ISO 8601.
   * @example "2026-01-31T12:00:00Z"
   */
  created?: string;
  /**
   * When it stops being accepted; never, if not set. Accepted: a time with its offset, ISO 8601.
   * @example "2027-01-31T12:00:00Z"
   */
  expires?: string;
  /**
   * Whether it was replaced by the key with the same id (`npm run keys -- rotate`); such a key needs `expires`.
   * @default false
   * @example true
   */
  replaced?: boolean;
  /**
   * Limits of this key, within the server's limits.
   * @example {"sandboxes": 3}
   */
  limits?: KeyLimitsArgs;
  /**
   * Whether it may read `/metrics` although `isolateByKey` is true, as the key `default` may.
   * @default false
   * @example true
   */
  metrics?: boolean;
}

/** Limits of one API key, within the server's limits. Without a value the server's own limit applies. */
export interface KeyLimitsArgs {
  /**
   * Number of running sandboxes; the server's own limit if not set.
   * Accepted: a whole number from 1 to 100000.
   * @example 20
   */
  sandboxes?: number;
  /**
   * Number of sandboxes, running or not; the server's own limit if not set.
   * Accepted: a whole number from 1 to 1000000.
   * @example 200
   */
  totalSandboxes?: number;
  /**
   * Memory of all running sandboxes together; the server's own limit if not set.
   * Accepted: a whole number of MiB from 64 to 67108864.
   * @example 8192
   */
  memoryMiB?: number;
  /**
   * CPUs of all running sandboxes together; the server's own limit if not set.
   * Accepted: a whole number of CPUs from 1 to 4096.
   * @example 8
   */
  cpus?: number;
  /**
   * Number of volumes; the server's own limit if not set.
   * Accepted: a whole number from 1 to 100000.
   * @example 50
   */
  volumes?: number;
  /**
   * Total GiB of all volumes: the capacity of those that have one, and the files in the others; the server's own limit if not set.
   * Accepted: a whole number of GiB from 1 to 16777216.
   * @example 500
   */
  volumeGiB?: number;
  /**
   * Snapshots, each a full copy of a disk; the server's own limit if not set.
   * Accepted: a whole number from 1 to 10000.
   * @example 40
   */
  snapshots?: number;
  /**
   * Requests per second of one key, with bursts of up to twice as many; the server's own limit if not set.
   * Accepted: a whole number from 1 to 1000000.
   * @example 100
   */
  requestsPerSecond?: number;
  /**
   * Open terminals, transfers and log streams of one key; the server's own limit if not set.
   * Accepted: a whole number from 1 to 1000000.
   * @example 200
   */
  connections?: number;
}
