const MAX_PAGES = 64;

/**
 * Answers that were made before, as bytes, for as long as nothing changed: a list is asked for
 * far more often than it becomes another one.
 */
export class PageCache {
  private readonly pages = new Map<string, Buffer>();
  private madeAt = "";

  constructor(private readonly revision: () => string) {}

  /** The page of a key; made if it is not there. */
  get(key: string, make: () => unknown): Buffer {
    const revision = this.revision();
    if (revision !== this.madeAt || this.pages.size >= MAX_PAGES) {
      this.pages.clear();
      this.madeAt = revision;
    }
    const known = this.pages.get(key);
    if (known) return known;
    const page = Buffer.from(JSON.stringify(make()));
    this.pages.set(key, page);
    return page;
  }
}
