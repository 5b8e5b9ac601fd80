import { statfsSync } from "node:fs";
import type { Config } from "./config";
import { containerLimits, type Limits } from "./limits/capacity";
import { GIB } from "./sandboxes/volume-files";

/** CPUs promised for each one there is. */
const CPU_SHARING = 4;
/** The part of the container's memory that is not promised to guests, its least MiB, and its greatest part. */
const RESERVE = { part: 1 / 8, leastMib: 512, greatestPart: 1 / 4 };
/** How old what is known of the container's own limits may be. */
const MAX_AGE_MS = 1_000;

/**
 * MiB of a container's memory that guests are not promised by default: for the server, for msb's process of each
 * sandbox, and for the page cache. An eighth, 512 MiB at least, but a quarter at most.
 */
export function memoryReserveMib(containerMib: number): number {
  const wanted = Math.max(containerMib * RESERVE.part, RESERVE.leastMib);
  return Math.ceil(Math.min(wanted, containerMib * RESERVE.greatestPart));
}

/**
 * The limits of the settings, and for what is not set those of the container, as they are when they are read: an engine
 * changes them while the server runs (`docker update`).
 * @param diskGib size of the disk that holds the state
 * @param measure the container's own limits now
 */
export function serverLimits(config: Config, diskGib: number, measure = containerLimits): Limits {
  const container = remembered(measure);
  const memory = () => {
    const { memoryMib } = container();
    return config.LIMIT_MEMORY_MIB ?? memoryMib - memoryReserveMib(memoryMib);
  };
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
    volumeGib: config.LIMIT_VOLUME_GIB ?? Math.ceil(diskGib),
    snapshots: config.LIMIT_SNAPSHOTS,
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
  return (blocks * bsize) / GIB;
}
