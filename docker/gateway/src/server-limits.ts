import { statfsSync } from "node:fs";
import type { Config } from "./config";
import { containerLimits, type Limits } from "./limits/capacity";

/** CPUs promised for each one there is. */
const CPU_SHARING = 4;
/** How old what is known of the container's own limits may be. */
const MAX_AGE_MS = 1_000;

/**
 * The limits of the settings, and for what is not set those of the container, as they are when they are read: an engine
 * changes them while the server runs (`docker update`).
 * @param diskGib size of the disk that holds the state
 * @param measure the container's own limits now
 */
export function serverLimits(config: Config, diskGib: number, measure = containerLimits): Limits {
  const container = remembered(measure);
  const memory = () => config.LIMIT_MEMORY_MIB ?? container().memoryMib;
  const cpus = () => config.LIMIT_CPUS ?? container().cpus * CPU_SHARING;
  return {
    sandboxes: config.LIMIT_SANDBOXES,
    totalSandboxes: config.LIMIT_TOTAL_SANDBOXES,
    get memoryMib() {
      return memory();
    },
    get cpus() {
      return cpus();
    },
    volumes: config.LIMIT_VOLUMES,
    volumeGib: config.LIMIT_VOLUME_GIB ?? Math.floor(diskGib),
    // More could never be used, and its mere bookkeeping takes room.
    sandboxDiskMib: Math.floor(diskGib * 1024),
    imageGib: config.LIMIT_IMAGE_GIB ?? diskGib / 2,
    get sandboxMemoryMib() {
      return Math.min(config.LIMIT_SANDBOX_MEMORY_MIB ?? memory(), memory());
    },
    get sandboxCpus() {
      return Math.min(config.LIMIT_SANDBOX_CPUS ?? Math.max(container().cpus, 2), cpus());
    },
  };
}

function remembered<T>(measure: () => T): () => T {
  let last: { at: number; value: T } | undefined;
  return () => {
    const now = performance.now();
    if (!last || now - last.at > MAX_AGE_MS) last = { at: now, value: measure() };
    return last.value;
  };
}

/** GiB of the file system that holds a path. */
export function sizeOfDisk(path: string): number {
  const { blocks, bsize } = statfsSync(path);
  return (blocks * bsize) / 1024 ** 3;
}
