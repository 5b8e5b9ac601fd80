import { randomUUID } from "node:crypto";

/** The most that one request may ask for. */
export const MOST_FORKS = 32;

/** What a fork would share with its source and with the other forks, and gets only where that was said. */
export const INHERITABLE = ["secrets", "volumes"] as const;

export type WantedForks = {
  /** One for each fork, all different. */
  names: string[];
  inherit: ReadonlySet<(typeof INHERITABLE)[number]>;
};

/** What a fork has in common with its source, as its memory is a copy: each program has to know, or to be started anew. */
export const SHARED_WITH_SOURCE = [
  "boot_id",
  "hostname",
  "network_addresses",
  "processes",
  "open_files",
  "user_space_random_state",
  "keys_in_memory",
] as const;

/** What is a fork's own from its first moment on. */
export const RENEWED = ["kernel_random_state", "clock"] as const;

/** Characters that a name may have, and those of the part that tells forks from each other. */
const MOST_OF_A_NAME = 128;
const SUFFIX = 8;

/** So many names for forks of a sandbox, which nothing else has. */
export function forkNames(source: string, count: number): string[] {
  const head = source.slice(0, MOST_OF_A_NAME - "-fork-".length - SUFFIX);
  return Array.from({ length: count }, () => `${head}-fork-${randomUUID().slice(0, SUFFIX)}`);
}
