/** Bytes of all pages together. */
const MOST_BYTES = 16 * 1024 * 1024;
/** What a page takes beside its own bytes, at most. */
const BESIDE = 8 * 1024;

type Kept = { versions: number[]; bytes: Buffer };

/**
 * Pages that were answered before, for as long as everything on them is as it was: lists are asked for far more often
 * than they change. So many bytes at most; the page that was made first goes first.
 */
export class KeptPages {
  private readonly pages = new Map<string, Kept>();
  private used = 0;

  constructor(private readonly mostBytes = MOST_BYTES) {}

  /** Bytes that are held. */
  get bytes(): number {
    return this.used;
  }

  /**
   * The page of items with these versions; made where it is not held.
   * @param shape whatever else `make` depends on
   */
  get({ versions, more }: { versions: number[]; more: boolean }, shape: string, make: () => Buffer): Buffer {
    const key = `${shape} ${more} ${versions.length} ${versions[0]}`;
    const kept = this.pages.get(key);
    if (kept && versions.every((version, at) => version === kept.versions[at])) return kept.bytes;
    this.delete(key);
    const bytes = make();
    this.pages.set(key, { bytes, versions });
    this.used += bytes.length + BESIDE;
    for (const first of this.pages.keys()) {
      if (this.used <= this.mostBytes) break;
      this.delete(first);
    }
    return bytes;
  }

  private delete(key: string): void {
    const page = this.pages.get(key);
    if (!page) return;
    this.pages.delete(key);
    this.used -= page.bytes.length + BESIDE;
  }
}
