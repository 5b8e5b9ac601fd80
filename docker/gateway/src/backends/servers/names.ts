/** Who holds a name, as it stood when it was looked at. */
export type Hold = {
  /** Id of what bears the name; null while that is being made. */
  id: string | null;
  /** When it was taken or changed last, in milliseconds since the epoch. */
  since: number;
  /** What the registry tells this hold from a later one by. */
  revision: string;
};

/**
 * The names of everything on all servers. Whichever routers ask at once, one of them gets a name. What a hold says of its
 * bearer is not kept up to date: a server may have removed it by itself.
 */
export interface Names {
  /**
   * Takes a name for something that is to be made.
   * @param instead the hold that is not to count; where another one has taken its place meanwhile, that one counts
   * @returns its new hold, or the hold of somebody else
   * @throws ServiceError unavailable
   */
  take(name: string, instead?: Hold): Promise<{ taken: Hold } | { held: Hold }>;
  /** It has been made: the name is that of this id. No error where the hold is no more. @throws ServiceError unavailable */
  settle(name: string, hold: Hold, id: string): Promise<void>;
  /** Gives a name up; nothing where another hold has taken the place of this one. @throws ServiceError unavailable */
  release(name: string, hold: Hold): Promise<void>;
  /** @throws ServiceError unavailable */
  holder(name: string): Promise<Hold | undefined>;
}

/** Names in the memory of one process: for a single router, and for tests. */
export class MemoryNames implements Names {
  private readonly holds = new Map<string, Hold>();
  private revisions = 0;

  async take(name: string, instead?: Hold): Promise<{ taken: Hold } | { held: Hold }> {
    const held = this.holds.get(name);
    if (held && held.revision !== instead?.revision) return { held };
    return { taken: this.put(name, null) };
  }

  async settle(name: string, hold: Hold, id: string): Promise<void> {
    if (this.isHeldBy(name, hold)) this.put(name, id);
  }

  async release(name: string, hold: Hold): Promise<void> {
    if (this.isHeldBy(name, hold)) this.holds.delete(name);
  }

  holder = async (name: string): Promise<Hold | undefined> => this.holds.get(name);

  private put(name: string, id: string | null): Hold {
    this.revisions += 1;
    const hold = { id, since: Date.now(), revision: String(this.revisions) };
    this.holds.set(name, hold);
    return hold;
  }

  private isHeldBy = (name: string, { revision }: Hold): boolean =>
    this.holds.get(name)?.revision === revision;
}
