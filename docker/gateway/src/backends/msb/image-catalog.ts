import type { ListedImage, RunOptions } from "./command-line";
import { canonical } from "./image-reference";

/** Images are also loaded and removed with msb itself: what is known gets read again after that time. */
const STALE_MS = 5 * 60_000;

/** What is in msb's cache, in memory, so that a create of a cached image asks nobody. */
export class ImageCatalog {
  private images = new Map<string, ListedImage>();
  /** When the last answer was asked for. */
  private askedAt = Number.NEGATIVE_INFINITY;
  private reading: { since: number; done: Promise<void> } | undefined;
  private next: Promise<void> | undefined;

  constructor(private readonly list: (options?: RunOptions) => Promise<ListedImage[]>) {}

  /** The image under any spelling of its name. */
  get = (reference: string): ListedImage | undefined => this.images.get(canonical(reference));

  has = (reference: string): boolean => this.images.has(canonical(reference));

  all = (): ListedImage[] => [...this.images.values()];

  /** Reads what msb has, unless an answer is at most that old; those who ask at the same time share one. */
  refresh(maxAgeMs = 0): Promise<void> {
    const oldest = performance.now() - maxAgeMs;
    if (this.askedAt >= oldest) return Promise.resolve();
    if (this.reading && this.reading.since >= oldest) return this.reading.done;
    this.next ??= this.afterReading().then(() => {
      this.next = undefined;
      return this.read();
    });
    return this.next;
  }

  /** Looks again in the background, now and then. */
  refreshIfStale(): void {
    this.refresh(STALE_MS).catch(() => undefined);
  }

  /** Takes an image out that msb turned out not to have. */
  forget(reference: string): void {
    this.images.delete(canonical(reference));
  }

  private async afterReading(): Promise<void> {
    await this.reading?.done.catch(() => undefined);
  }

  private read(): Promise<void> {
    const since = performance.now();
    const done = this.list().then((images) => {
      this.images = new Map(images.map((image) => [canonical(image.reference), image]));
      this.askedAt = since;
    });
    const reading = { since, done };
    this.reading = reading;
    const forget = () => {
      if (this.reading === reading) this.reading = undefined;
    };
    done.then(forget, forget);
    return done;
  }
}
