import { ServiceError } from "../errors";

/** Who takes places: the id of a key, or a symbol for work that shares with nobody. */
export type PlaceOwner = string | symbol;
export type GiveBack = () => void;

/**
 * Places that all owners share. Nobody takes more than one place beyond what then stays free for others: a single owner
 * gets half, two get two thirds between them, and the last place is only for an owner who has none. (Known as dynamic
 * thresholds, from the buffers of network switches.)
 */
export class SharedPlaces {
  private readonly total: number;
  private taken = 0;
  private readonly byOwner = new Map<PlaceOwner, number>();
  /** Those who wait, by owner, the owner whose turn it is first. */
  private readonly queues = new Map<PlaceOwner, Set<() => void>>();
  private waits = 0;

  /** @param what takes a place, in the plural, for the sentence of a refusal */
  constructor(
    total: number,
    private readonly what: string,
  ) {
    this.total = Math.floor(total);
  }

  /** All that are taken. */
  get inUse(): number {
    return this.taken;
  }

  /** Calls of {@link wait} that have no place yet. */
  get waiting(): number {
    return this.waits;
  }

  /** Takes some at once; the function returned gives them back, and may be called again. @throws ServiceError 429 */
  take(owner: PlaceOwner, places = 1): GiveBack {
    if (this.isFree(owner, places)) return this.hold(owner, places);
    if (this.taken + places > this.total) throw this.refusal(`more than ${this.total} ${this.what} at once`);
    throw this.refusal(`more than ${this.shareOf(owner)} ${this.what} at once with one key`);
  }

  /**
   * Takes one as soon as there is one. Owners take turns; those of one owner come in the order of asking.
   * @throws the signal's reason, where it aborts before the turn comes
   */
  async wait(owner: PlaceOwner, signal?: AbortSignal): Promise<GiveBack> {
    signal?.throwIfAborted();
    // Whoever waits can't have it: it would have been given out already.
    if (this.isFree(owner)) return this.hold(owner, 1);
    return new Promise((resolve, reject) => {
      const leave = () => {
        this.leaveQueue(owner, begin);
        reject(signal?.reason);
      };
      const begin = () => {
        signal?.removeEventListener("abort", leave);
        resolve(this.hold(owner, 1));
      };
      signal?.addEventListener("abort", leave, { once: true });
      const queue = this.queues.get(owner) ?? new Set();
      this.queues.set(owner, queue.add(begin));
      this.waits++;
    });
  }

  /** Does work in a place of {@link wait}. */
  async run<T>(owner: PlaceOwner, signal: AbortSignal | undefined, work: () => Promise<T>): Promise<T> {
    const giveBack = await this.wait(owner, signal);
    try {
      return await work();
    } finally {
      giveBack();
    }
  }

  /** Whether an owner may have so many more now. */
  isFree(owner: PlaceOwner, places = 1): boolean {
    const own = this.byOwner.get(owner) ?? 0;
    const left = this.total - this.taken - places;
    return left >= 0 && (own === 0 || own + places <= left + 1);
  }

  /** What an owner may have, as things are. */
  private shareOf(owner: PlaceOwner): number {
    const own = this.byOwner.get(owner) ?? 0;
    return Math.max(1, Math.floor((this.total - this.taken + own + 1) / 2));
  }

  private hold(owner: PlaceOwner, places: number): GiveBack {
    this.taken += places;
    this.byOwner.set(owner, (this.byOwner.get(owner) ?? 0) + places);
    let given = false;
    return () => {
      if (given) return;
      given = true;
      this.taken -= places;
      const left = (this.byOwner.get(owner) ?? places) - places;
      if (left > 0) this.byOwner.set(owner, left);
      else this.byOwner.delete(owner);
      this.serve();
    };
  }

  private serve(): void {
    // An owner that is put at the end is come to again.
    for (const [owner, queue] of this.queues) {
      if (this.taken >= this.total) return;
      const [begin] = queue;
      if (!begin || !this.isFree(owner)) continue;
      this.leaveQueue(owner, begin);
      // Its next turn comes after the others'.
      if (this.queues.delete(owner)) this.queues.set(owner, queue);
      begin();
    }
  }

  private leaveQueue(owner: PlaceOwner, begin: () => void): void {
    const queue = this.queues.get(owner);
    if (!queue?.delete(begin)) return;
    this.waits--;
    if (queue.size === 0) this.queues.delete(owner);
  }

  private refusal(message: string): ServiceError {
    return new ServiceError("rateLimited", message, { retryAfterSeconds: 1 });
  }
}
