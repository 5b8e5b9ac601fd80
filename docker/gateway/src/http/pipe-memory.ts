/** Bytes that all pipes together may hold. */
const TOTAL = 256 * 1024 * 1024;

/** What a piece of data takes beside its bytes, wherever it waits: whoever sends chooses how small the pieces are. */
export const PIECE_BYTES = 512;

/**
 * What pipes hold in memory for clients that don't read, have sent a part of a message, or whose sandbox takes nothing:
 * bounded in all, and for each owner by half of that. A pipe that takes its owner beyond the half is ended. Where all is
 * taken, the largest pipe of the owner with the most is, whoever came last.
 */
export class PipeMemory {
  private used = 0;
  /** Without what is being ended, which counts as given back here and for its owner. */
  private staying = 0;
  private readonly owners = new Map<string, Owner>();

  constructor(private readonly total = TOTAL) {}

  /** Bytes that are held. */
  get bytes(): number {
    return this.used;
  }

  /** Whether an owner's pipes may hold more than a piece each. The other half of its half is left for those pieces. */
  hasRoom(owner: string): boolean {
    return (this.owners.get(owner)?.bytes ?? 0) <= this.total / 4;
  }

  /**
   * One pipe's part.
   * @param end called once, when the pipe has to give back what it holds
   */
  share(owner: string, end: () => void): PipeShare {
    const share: Share = { bytes: 0, isEnding: false, end };
    return {
      set: (bytes) => {
        const more = bytes - share.bytes;
        if (more === 0) return;
        this.used += more;
        share.bytes = bytes;
        if (share.isEnding) return;
        const all = this.count(owner, share, more);
        if (more > 0 && all.bytes > this.total / 2) this.end(owner, share);
        if (more > 0 && this.staying > this.total) this.endLargest();
      },
      get bytes() {
        return share.bytes;
      },
    };
  }

  /** Owners and shares are in the table while they hold something. */
  private count(owner: string, share: Share, more: number): Owner {
    const all = this.owners.get(owner) ?? { bytes: 0, shares: new Set() };
    this.staying += more;
    all.bytes += more;
    if (share.bytes > 0 && !share.isEnding) all.shares.add(share);
    else all.shares.delete(share);
    if (all.shares.size > 0) this.owners.set(owner, all);
    else this.owners.delete(owner);
    return all;
  }

  private end(owner: string, share: Share): void {
    share.isEnding = true;
    this.count(owner, share, -share.bytes);
    share.end();
  }

  private endLargest(): void {
    const most = largest([...this.owners], ([, { bytes }]) => bytes);
    const share = most && largest([...most[1].shares], ({ bytes }) => bytes);
    if (share) this.end(most[0], share);
  }
}

export type PipeShare = {
  readonly bytes: number;
  /** Says how many bytes it holds now. */
  set: (bytes: number) => void;
};

type Share = { bytes: number; isEnding: boolean; end: () => void };
type Owner = { bytes: number; shares: Set<Share> };

function largest<T>(all: T[], size: (one: T) => number): T | undefined {
  let found: T | undefined;
  for (const one of all) if (found === undefined || size(one) > size(found)) found = one;
  return found;
}
