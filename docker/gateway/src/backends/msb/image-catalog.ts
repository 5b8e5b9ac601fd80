import { SharedRead } from "../../shared-read";
import type { ListedImage } from "./command-line";
import { canonical } from "./image-reference";

/** Images are also loaded and removed with msb itself: what is known gets read again after that time. */
const STALE_MS = 5 * 60_000;

/** What is in msb's cache, in memory, so that a create of a cached image asks nobody. */
export class ImageCatalog {
  private images = new Map<string, ListedImage>();
  private readonly read: SharedRead;

  constructor(list: () => Promise<ListedImage[]>) {
    this.read = new SharedRead(async () => {
      this.images = new Map((await list()).map((image) => [canonical(image.reference), image]));
    });
  }

  /** The image under any spelling of its name. */
  get = (reference: string): ListedImage | undefined => this.images.get(canonical(reference));

  has = (reference: string): boolean => this.images.has(canonical(reference));

  all = (): ListedImage[] => [...this.images.values()];

  /** Reads what msb has, unless an answer is at most that old. */
  refresh = (maxAgeMs = 0): Promise<void> => this.read.refresh(maxAgeMs);

  /** Looks again in the background, now and then. */
  refreshIfStale(): void {
    this.refresh(STALE_MS).catch(() => undefined);
  }

  /** Takes an image out that msb turned out not to have. */
  forget(reference: string): void {
    this.images.delete(canonical(reference));
  }
}
