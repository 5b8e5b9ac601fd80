/** Who holds a name, as it stood when it was looked at. */
export type Hold = {
  /** `lost`: nobody knows whether it was made. */
  state: "making" | "made" | "lost";
  /** Id of what was made. */
  id: string | null;
  /** When it came to be so, in milliseconds since the epoch. */
  since: number;
  /** What the registry tells this hold from a later one by. */
  revision: string;
};

/**
 * Milliseconds after which a hold is forgotten: longer than a create takes that is made on one server after the other;
 * longer than all routers need to hear from the server of what was made; and long enough for a server whose answer was
 * lost to be there again.
 */
export const KEPT_MS = { making: 15 * 60_000, made: 60_000, lost: 60 * 60_000 };

/** Whether a hold still counts. */
export const isKept = ({ state, since }: Hold): boolean => Date.now() - since < KEPT_MS[state];

/**
 * Names of what is being made, and for a while of what was made. Whichever routers ask at once, one of them gets a name.
 * Which names are taken for good, the servers know.
 */
export interface Names {
  /**
   * Takes a name for something that is to be made.
   * @param instead the hold that is not to count; where another one has taken its place meanwhile, that one counts
   * @returns its new hold, or the hold of somebody else
   * @throws ServiceError unavailable
   */
  take(name: string, instead?: Hold): Promise<{ taken: Hold } | { held: Hold }>;
  /**
   * It is not being made any more. No error where the hold is no more.
   * @param id of what was made; null where nobody knows whether it was
   * @throws ServiceError unavailable
   */
  settle(name: string, hold: Hold, id: string | null): Promise<void>;
  /** Gives a name up; nothing where another hold has taken the place of this one. @throws ServiceError unavailable */
  release(name: string, hold: Hold): Promise<void>;
  /** What was made with this id is no more; nothing where the name is another's. @throws ServiceError unavailable */
  forget(name: string, id: string): Promise<void>;
}

/** Names below which it is not worth looking for what can be forgotten. */
const FEW = 1_000;

/** Names in the memory of one process: for a single router, and for tests. */
export class MemoryNames implements Names {
  private readonly holds = new Map<string, Hold>();
  private revisions = 0;
  private sweepAbove = FEW;

  async take(name: string, instead?: Hold): Promise<{ taken: Hold } | { held: Hold }> {
    const held = this.holds.get(name);
    if (held && isKept(held) && held.revision !== instead?.revision) return { held };
    return { taken: this.put(name, "making", null) };
  }

  async settle(name: string, hold: Hold, id: string | null): Promise<void> {
    if (this.isHeldBy(name, hold)) this.put(name, id === null ? "lost" : "made", id);
  }

  async release(name: string, hold: Hold): Promise<void> {
    if (this.isHeldBy(name, hold)) this.holds.delete(name);
  }

  async forget(name: string, id: string): Promise<void> {
    if (this.holds.get(name)?.id === id) this.holds.delete(name);
  }

  /** Holds that take memory. */
  get size(): number {
    return this.holds.size;
  }

  private put(name: string, state: Hold["state"], id: string | null): Hold {
    this.revisions += 1;
    const hold = { state, id, since: Date.now(), revision: String(this.revisions) };
    this.holds.set(name, hold);
    if (this.holds.size > this.sweepAbove) this.sweep();
    return hold;
  }

  private sweep(): void {
    for (const [name, hold] of this.holds) if (!isKept(hold)) this.holds.delete(name);
    // So that a sweep costs little of what has come since the last.
    this.sweepAbove = Math.max(FEW, 2 * this.holds.size);
  }

  private isHeldBy = (name: string, { revision }: Hold): boolean =>
    this.holds.get(name)?.revision === revision;
}
