import { lstat, readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import * as z from "zod";
import { writeFileAtomically } from "../../files/atomic-file";
import type { Msb } from "./command-line";
import { lastLine } from "./error-sentences";
import { canonical } from "./image-reference";
import { STARTER } from "./starter-image";

const uses = z.record(z.string(), z.number());

/** Parts of msb's cache that grow with its images. */
const FOLDERS = ["layers", "fsmeta", "vmdk", "flat"];

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

/**
 * msb's image cache as the gateway uses it: who starts from which image, and since when nobody does. An image is
 * never removed while a start works with it, and a start waits for the end of a removal.
 */
export class ImageCache {
  private readonly working = new Map<string, number>();
  private readonly removals = new Map<string, Promise<unknown>>();
  /** When each image was last asked for, in milliseconds since the epoch. */
  private lastUse = new Map<string, number>();
  private changed = false;

  private constructor(
    private readonly home: string,
    private readonly msb: Msb,
    /** References that sandboxes not made yet will start from. */
    private readonly wanted: () => Iterable<string>,
  ) {}

  static async open(home: string, msb: Msb, wanted: () => Iterable<string>): Promise<ImageCache> {
    const cache = new ImageCache(home, msb, wanted);
    try {
      cache.lastUse = new Map(Object.entries(uses.parse(JSON.parse(await readFile(cache.file, "utf8")))));
    } catch {
      // Not known: an image is then as old as its download.
    }
    return cache;
  }

  /** Works with an image, which stays meanwhile. */
  async use<T>(reference: string, work: () => Promise<T>): Promise<T> {
    const image = canonical(reference);
    while (this.removals.has(image)) await this.removals.get(image);
    this.working.set(image, (this.working.get(image) ?? 0) + 1);
    this.lastUse.set(image, Date.now());
    this.changed = true;
    try {
      return await work();
    } finally {
      const left = (this.working.get(image) ?? 1) - 1;
      if (left > 0) this.working.set(image, left);
      else this.working.delete(image);
    }
  }

  /** Removes images that no sandbox uses, those first that nobody asked for the longest. */
  async prune({ olderThanSeconds, maxBytes }: PruneOptions, now = Date.now()): Promise<PruneReport> {
    const report: PruneReport = { removed: [], kept: [], bytes: await this.bytes() };
    const images = (await this.msb.images())
      .map(({ reference, created_at }) => ({
        reference,
        usedAt: Math.max(Date.parse(created_at), this.lastUse.get(canonical(reference)) ?? 0),
      }))
      .filter(({ usedAt }) => now - usedAt >= olderThanSeconds * 1000)
      .sort((a, b) => a.usedAt - b.usedAt);
    for (const { reference } of images) {
      if (maxBytes !== undefined && report.bytes <= maxBytes) break;
      const reason = await this.remove(reference);
      if (reason === undefined) report.removed.push(reference);
      else report.kept.push({ reference, reason });
      if (maxBytes !== undefined) report.bytes = await this.bytes();
    }
    return { ...report, bytes: await this.bytes() };
  }

  /** Writes down what was used, for the next process; a crash makes an image look older than it is. */
  async flush(): Promise<void> {
    if (!this.changed) return;
    this.changed = false;
    await writeFileAtomically(this.file, JSON.stringify(Object.fromEntries(this.lastUse)));
  }

  private get file(): string {
    return join(this.home, "gateway", "image-uses.json");
  }

  /** Undefined when the image is gone, else why it stays. */
  private async remove(reference: string): Promise<string | undefined> {
    const image = canonical(reference);
    // No await before the removal is noted: what starts from now on waits for it.
    if (image === canonical(STARTER)) return "it is the built-in image";
    if (this.working.has(image)) return "a sandbox is starting from it";
    for (const each of this.wanted()) if (canonical(each) === image) return "a sandbox is to start from it";
    const removal = this.msb.run(["image", "rm", "--", reference]);
    this.removals.set(
      image,
      removal.catch(() => undefined),
    );
    try {
      const { code, stderr, stdout } = await removal;
      if (code === 0) this.lastUse.delete(image);
      return code === 0 ? undefined : reasonOf(`${stderr}\n${stdout}`);
    } finally {
      this.removals.delete(image);
    }
  }

  /** Bytes that the cache takes on the disk. */
  private async bytes(): Promise<number> {
    const sizes = await Promise.all(FOLDERS.map((folder) => bytesBelow(join(this.home, "cache", folder))));
    return sizes.reduce((sum, size) => sum + size, 0);
  }
}

function reasonOf(text: string): string {
  return /in use by sandbox/i.test(text) ? "a sandbox uses it" : lastLine(text);
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
