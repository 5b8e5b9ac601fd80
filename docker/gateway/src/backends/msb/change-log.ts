import { randomUUID } from "node:crypto";

type Change = { at: number; id: string };
export type ChangedIds = { anew: boolean; ids: string[]; moment: string; more: boolean };

export type ChangeLogLimits = {
  /** Changes that are kept of what is no more. Default: 10,000. */
  kept?: number;
  /** Ids in one answer, each with a spec of up to 64 KiB. Default: 100. */
  atOnce?: number;
};

/**
 * The order in which things changed. It holds the last change of everything that is there, so that all changes since
 * nothing tell of all; of what is no more it holds the newest only, and a moment before the others is forgotten.
 */
export class ChangeLog {
  /** Of this process alone: moments of another one say nothing. */
  private readonly process = randomUUID();
  private changes: Change[] = [];
  private count = 0;
  /** Changes up to here may be missing, of what is no more. */
  private forgotten = 0;
  private readonly last = new Map<string, number>();

  private readonly mostKept: number;
  private readonly mostAtOnce: number;

  /** @param there what is there, by id */
  constructor(
    private readonly there: Pick<ReadonlyMap<string, unknown>, "has" | "size">,
    { kept = 10_000, atOnce = 100 }: ChangeLogLimits = {},
  ) {
    this.mostKept = kept;
    this.mostAtOnce = atOnce;
  }

  add(id: string): void {
    this.count += 1;
    this.changes.push({ at: this.count, id });
    this.last.set(id, this.count);
    if (this.changes.length > 2 * (this.there.size + this.mostKept)) this.compact();
  }

  /** What has changed since a moment, each once, the oldest first. */
  since(moment: string | undefined): ChangedIds {
    const { from, begun } = this.read(moment);
    const ids: string[] = [];
    let at = this.firstAfter(from ?? 0);
    for (; at < this.changes.length && ids.length < this.mostAtOnce; at++) {
      const change = this.changes[at];
      if (change && this.last.get(change.id) === change.at) ids.push(change.id);
    }
    const end = Math.max(this.changes[at - 1]?.at ?? 0, from ?? 0);
    return {
      anew: from === undefined,
      ids,
      moment: `${this.process} ${end} ${begun}`,
      more: at < this.changes.length,
    };
  }

  /**
   * The number of a moment, undefined for one that nothing is known of, and up to where changes were forgotten when its
   * reader began with nothing: of those it had not heard.
   */
  private read(moment: string | undefined): { from: number | undefined; begun: number } {
    const [process, ...numbers] = moment?.split(" ") ?? [];
    const [at = 0, begun = 0] = numbers.map(Number);
    const isKnown = process === this.process && at <= this.count && this.forgotten <= Math.max(at, begun);
    return isKnown ? { from: at, begun } : { from: undefined, begun: this.forgotten };
  }

  private firstAfter(number: number): number {
    let [low, high] = [0, this.changes.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.changes[middle]?.at ?? 0) <= number) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Drops what later changes have overtaken, and the oldest of what is no more. */
  private compact(): void {
    const newest = this.changes.filter(({ at, id }) => this.last.get(id) === at);
    let left = newest.filter(({ id }) => !this.there.has(id)).length - this.mostKept;
    this.changes = newest.filter(({ at, id }) => {
      if (left <= 0 || this.there.has(id)) return true;
      left -= 1;
      this.forgotten = at;
      this.last.delete(id);
      return false;
    });
  }
}
