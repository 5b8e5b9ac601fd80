import { readFileSync } from "node:fs";

/** Connections at once, of all clients, where there are descriptors for them. */
const MOST_CONNECTIONS = 20_000;
/** The part of the descriptors that is left for files, and for the pipes of msb's processes. */
const RESERVE = 1 / 4;
/** Descriptors that a connection may need: its own, and one of a sandbox's socket or of a file. */
const PER_CONNECTION = 2;

/** Connections that a process with so many descriptors can take, so that the reserve stays whatever they do. */
export function mostConnections(descriptors = descriptorLimit()): number {
  const most = Math.floor((descriptors * (1 - RESERVE)) / PER_CONNECTION);
  return Math.max(1, Math.min(MOST_CONNECTIONS, most));
}

/** File descriptors that this process may have open; Infinity where nobody says. */
export function descriptorLimit(path = "/proc/self/limits"): number {
  try {
    // Node raises the soft limit, the first of the two, as far as it may.
    const [, soft] = /^Max open files +(\S+)/m.exec(readFileSync(path, "utf8")) ?? [];
    return soft === undefined || soft === "unlimited" ? Number.POSITIVE_INFINITY : Number(soft);
  } catch {
    return Number.POSITIVE_INFINITY;
  }
}
