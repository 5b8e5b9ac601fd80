import { ServiceError } from "../errors";

/** Places that all owners share, of which one owner gets half at most: the others find some free. */
export class SharedPlaces {
  private taken = 0;
  private readonly byOwner = new Map<string, number>();
  private readonly most: number;

  /** @param what takes a place, in the plural, for the sentence of a refusal */
  constructor(
    private readonly total: number,
    private readonly what: string,
  ) {
    this.most = Math.ceil(total / 2);
  }

  /** All that are taken. */
  get inUse(): number {
    return this.taken;
  }

  /** Takes some; the function returned gives them back, and is to be called once. @throws ServiceError 429 */
  take(owner: string, places = 1): () => void {
    const own = (this.byOwner.get(owner) ?? 0) + places;
    if (this.taken + places > this.total) throw this.refusal(`more than ${this.total} ${this.what} at once`);
    if (own > this.most) throw this.refusal(`more than ${this.most} ${this.what} at once with one key`);
    this.taken += places;
    this.byOwner.set(owner, own);
    return () => {
      this.taken -= places;
      const left = (this.byOwner.get(owner) ?? places) - places;
      if (left > 0) this.byOwner.set(owner, left);
      else this.byOwner.delete(owner);
    };
  }

  private refusal(message: string): ServiceError {
    return new ServiceError("rateLimited", message, { retryAfterSeconds: 1 });
  }
}
