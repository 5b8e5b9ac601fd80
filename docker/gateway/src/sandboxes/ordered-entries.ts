import { comparePositions, type Position } from "./scope";

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
