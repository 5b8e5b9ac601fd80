import { comparePositions, type Owner, type Position, type Scope } from "./scope";

type Placed = { record: Position };

/** Entries in the order of their creation. */
export class OrderedEntries<E extends Placed> {
  private readonly entries: E[] = [];

  get size(): number {
    return this.entries.length;
  }

  add(entry: E): void {
    this.entries.splice(this.placeAfter(entry.record), 0, entry);
  }

  delete(entry: E): void {
    const at = this.placeAfter(entry.record) - 1;
    if (this.entries[at] === entry) this.entries.splice(at, 1);
  }

  /** The first ones after a position, and whether there are more. */
  page(
    position: Position | undefined,
    limit: number,
    isWanted: (entry: E) => boolean,
  ): { entries: E[]; more: boolean } {
    const entries: E[] = [];
    for (let at = position ? this.placeAfter(position) : 0; at < this.entries.length; at++) {
      const entry = this.entries[at];
      if (!entry || !isWanted(entry)) continue;
      if (entries.length === limit) return { entries, more: true };
      entries.push(entry);
    }
    return { entries, more: false };
  }

  /** Where in the order the first one after a position is. */
  private placeAfter(position: Position): number {
    let [low, high] = [0, this.entries.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      const record = this.entries[middle]?.record;
      if (record && comparePositions(record, position) <= 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

/** The same for all, and for each owner by itself: whoever asks for its own pays for no other's. */
export class OrderedByOwner<E extends { record: Position & { owner: Owner } }> {
  private readonly all = new OrderedEntries<E>();
  private readonly byOwner = new Map<Owner, OrderedEntries<E>>();

  add(entry: E): void {
    const { owner } = entry.record;
    this.all.add(entry);
    const own = this.byOwner.get(owner) ?? new OrderedEntries();
    this.byOwner.set(owner, own);
    own.add(entry);
  }

  delete(entry: E): void {
    const { owner } = entry.record;
    this.all.delete(entry);
    const own = this.byOwner.get(owner);
    own?.delete(entry);
    if (own?.size === 0) this.byOwner.delete(owner);
  }

  /** The first ones after a position, of one owner or of all, and whether there are more. */
  page(
    { owner, after, limit }: Scope & { after?: Position; limit: number },
    isWanted: (entry: E) => boolean,
  ): { entries: E[]; more: boolean } {
    const ordered = owner === undefined ? this.all : this.byOwner.get(owner);
    return ordered?.page(after, limit, isWanted) ?? { entries: [], more: false };
  }
}

type Labelled = { labels: Record<string, string> };

/** Whether a sandbox has all of these labels: those that were asked for or, of one made with msb itself, msb's. */
export function labelFilter(labels: Record<string, string>) {
  const pairs = Object.entries(labels);
  return ({ spec, resolved }: { spec: Labelled | null; resolved: Labelled | null }): boolean => {
    if (pairs.length === 0) return true;
    const own = spec?.labels ?? resolved?.labels ?? {};
    return pairs.every(([key, value]) => own[key] === value);
  };
}
