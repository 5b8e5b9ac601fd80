import { join } from "node:path";
import { ServiceError } from "../../errors";
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

const GIB = 1024 ** 3;

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

/** Before a pull, images go where they take more than they may. @throws ServiceError noCapacity */
export async function makeRoom(
  { home, maxBytes }: { home: string; maxBytes: number },
  prune: (options: PruneOptions) => Promise<PruneReport>,
): Promise<void> {
  if ((await cacheBytes(home)) <= maxBytes) return;
  const { bytes } = await prune({ olderThanSeconds: 0, maxBytes });
  if (bytes <= maxBytes) return;
  const [taken, allowed] = [bytes, maxBytes].map((size) => (size / GIB).toFixed(1));
  throw new ServiceError(
    "noCapacity",
    `images take ${taken} GiB, ${allowed} GiB are allowed, and all are in use by sandboxes or named by the setting images; remove some sandboxes`,
  );
}

/** Parts of msb's cache that grow with its images. */
const FOLDERS = ["layers", "fsmeta", "vmdk", "flat", "tmp"];

/** Bytes that msb's cache of images takes on the disk. */
async function cacheBytes(home: string): Promise<number> {
  const sizes = await Promise.all(FOLDERS.map((folder) => allocatedBytes(join(home, "cache", folder))));
  return sizes.reduce((sum, size) => sum + size, 0);
}
