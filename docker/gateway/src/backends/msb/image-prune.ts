import { lstat, readdir } from "node:fs/promises";
import { join } from "node:path";

export type PruneOptions = {
  /** Only images that nobody asked for in that time. */
  olderThanSeconds: number;
  /** Only until the cache takes no more than that on the disk. */
  maxBytes?: number;
};
export type PruneReport = {
  removed: string[];
  /** Images that would have gone, and why they stayed. */
  kept: { reference: string; reason: string }[];
  /** What the cache takes on the disk afterwards. */
  bytes: number;
};

/** Parts of msb's cache that grow with its images. */
const FOLDERS = ["layers", "fsmeta", "vmdk", "flat"];

/** Bytes that msb's cache of images takes on the disk. */
export async function cacheBytes(home: string): Promise<number> {
  const sizes = await Promise.all(FOLDERS.map((folder) => bytesBelow(join(home, "cache", folder))));
  return sizes.reduce((sum, size) => sum + size, 0);
}

async function bytesBelow(path: string): Promise<number> {
  try {
    const { blocks } = await lstat(path);
    const names = await readdir(path).catch(() => []);
    const sizes = await Promise.all(names.map((name) => bytesBelow(join(path, name))));
    return sizes.reduce((sum, size) => sum + size, blocks * 512);
  } catch {
    // Removed meanwhile, or never made.
    return 0;
  }
}
