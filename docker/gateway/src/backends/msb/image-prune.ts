import { join } from "node:path";
import { allocatedBytes } from "./allocated-bytes";

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

/** A cached image, and when somebody last asked for it, in milliseconds since the epoch. */
export type UsedImage = { reference: string; usedAt: number };

/**
 * Removes images, those first that nobody asked for the longest.
 * @param remove undefined when the image is gone, else why it stays
 */
export async function pruneImages(
  home: string,
  images: UsedImage[],
  remove: (reference: string) => Promise<string | undefined>,
  { olderThanSeconds, maxBytes }: PruneOptions,
  now: number,
): Promise<PruneReport> {
  const report: PruneReport = { removed: [], kept: [], bytes: await cacheBytes(home) };
  const old = images.filter(({ usedAt }) => now - usedAt >= olderThanSeconds * 1000);
  for (const { reference } of old.sort((a, b) => a.usedAt - b.usedAt)) {
    if (maxBytes !== undefined && report.bytes <= maxBytes) break;
    const reason = await remove(reference);
    if (reason === undefined) report.removed.push(reference);
    else report.kept.push({ reference, reason });
    if (maxBytes !== undefined) report.bytes = await cacheBytes(home);
  }
  return { ...report, bytes: await cacheBytes(home) };
}

/** Parts of msb's cache that grow with its images. */
const FOLDERS = ["layers", "fsmeta", "vmdk", "flat", "tmp"];

/** msb leaves its lock files behind for good, empty ones, some for each layer that was ever pulled. */
const isNoLock = (name: string) => !name.endsWith(".lock");

/** Bytes that msb's cache of images takes on the disk. */
export async function cacheBytes(home: string): Promise<number> {
  let bytes = 0;
  for (const folder of FOLDERS) bytes += await allocatedBytes(join(home, "cache", folder), isNoLock);
  return bytes;
}
