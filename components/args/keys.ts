/** A further API key, of which only the hash is known. */
export interface KeyArgs {
  /**
   * Name of the key, which logs show. Accepted: 1 to 64 letters, digits or . _ -.
   * @example "ci"
   */
  id: string;
  /**
   * `sha256:` and the SHA-256 of the key in 64 hexadecimal digits.
   * @example "sha256:0000000000000000000000000000000000000000000000000000000000000000"
   */
  hash: string;
  /**
   * When it was made; for information. Accepted: a time with its offset, ISO 8601.
   * @example "2026-01-31T12:00:00Z"
   */
  created?: string;
  /**
   * When it stops being accepted; never, if not set. Accepted: a time with its offset, ISO 8601.
   * @example "2027-01-31T12:00:00Z"
   */
  expires?: string;
  /**
   * Whether it is the predecessor of the key with the same id; such a key needs `expires`.
   * @default false
   * @example true
   */
  replaced?: boolean;
  /**
   * What this key may have of the server's limits.
   * @example {"sandboxes": 3}
   */
  limits?: KeyLimitsArgs;
}

/** What one key may have of the server's limits. Without a value the server's own limit holds. */
export interface KeyLimitsArgs {
  /**
   * Sandboxes that run at once; the server's own limit if not set.
   * Accepted: a whole number from 1 to 100000.
   * @example 20
   */
  sandboxes?: number;
  /**
   * Sandboxes in all, those that don't run too; the server's own limit if not set.
   * Accepted: a whole number from 1 to 1000000.
   * @example 200
   */
  totalSandboxes?: number;
  /**
   * Memory promised to all running sandboxes together; the server's own limit if not set.
   * Accepted: a whole number from 64 to 67108864.
   * @example 8192
   */
  memoryMiB?: number;
  /**
   * CPUs promised to all running sandboxes together; the server's own limit if not set.
   * Accepted: a whole number from 1 to 4096.
   * @example 8
   */
  cpus?: number;
  /**
   * Volumes; the server's own limit if not set.
   * Accepted: a whole number from 1 to 100000.
   * @example 50
   */
  volumes?: number;
  /**
   * Capacity promised to all volumes that have one together; the server's own limit if not set.
   * Accepted: a whole number from 1 to 16777216.
   * @example 500
   */
  volumeGiB?: number;
  /**
   * Requests per second with one key, bursts of twice as many aside; the server's own limit if not set.
   * Accepted: a whole number from 1 to 1000000.
   * @example 100
   */
  requestsPerSecond?: number;
  /**
   * Terminals, transfers and log streams open at once with one key; the server's own limit if not set.
   * Accepted: a whole number from 1 to 1000000.
   * @example 200
   */
  connections?: number;
}
