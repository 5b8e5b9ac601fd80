import PQueue from "p-queue";
import { ServiceError } from "../../errors";

/**
 * What waits for what: commands of one lane wait for each other, those of different lanes never do.
 * - reads: lists and questions
 * - stops: stops of sandboxes; they wait for guests rather than compute
 * - removals: of sandboxes, which wait for no guest
 * - boots: creates and starts, of images that are there
 * - pulls: downloads of images
 * - housekeeping: volumes made and removed, images loaded and removed
 */
export type Lane = "reads" | "stops" | "removals" | "boots" | "pulls" | "housekeeping";

/** How many run at once, and how many more may wait. As many stops wait as there are sandboxes. */
const LANES: Record<Lane, { atOnce: number; waiting: number }> = {
  reads: { atOnce: 4, waiting: 2_000 },
  stops: { atOnce: 16, waiting: Number.POSITIVE_INFINITY },
  removals: { atOnce: 16, waiting: Number.POSITIVE_INFINITY },
  boots: { atOnce: 16, waiting: 10_000 },
  pulls: { atOnce: 4, waiting: 500 },
  housekeeping: { atOnce: 4, waiting: 500 },
};

export type Turn = {
  /** Whose turn it is: one owner has at most half of a lane. Without one there is no such share. */
  owner?: string;
  /** Gives the place up while it waits; the call then fails with the signal's reason. */
  signal?: AbortSignal;
  /** When waiting ends, in milliseconds since the epoch. */
  deadlineMs: number;
};

/** Gives out turns, in the order of asking. */
export class Lanes {
  private readonly queues = new Map<string, PQueue>();

  /**
   * Runs work when its turn comes. What has begun is not ended by the turn's signal or deadline.
   * @throws ServiceError timeout where the turn does not come in time, unavailable where too many wait
   */
  async run<T>(lane: Lane, turn: Turn, work: () => Promise<T>): Promise<T> {
    const { atOnce, waiting } = LANES[lane];
    const all = this.queue(lane, atOnce);
    if (all.size >= waiting) throw tooMany();
    const began = new AbortController();
    const once = () => {
      began.abort();
      return work();
    };
    const wait = givingUp(turn, began.signal);
    const { owner } = turn;
    if (owner === undefined) return all.add(once, wait);
    const name = `${lane} ${owner}`;
    const own = this.queue(name, Math.max(1, atOnce / 2));
    if (own.size >= waiting) throw tooMany();
    try {
      return await own.add(() => all.add(once, wait), wait);
    } finally {
      if (own.size === 0 && own.pending === 0) this.queues.delete(name);
    }
  }

  /** What runs and what waits, by lane. */
  counts(): { lane: string; running: number; waiting: number }[] {
    return Object.keys(LANES).map((lane) => {
      const { pending = 0, size = 0 } = this.queues.get(lane) ?? {};
      let waiting = size;
      for (const [name, own] of this.queues) if (name.startsWith(`${lane} `)) waiting += own.size;
      return { lane, running: pending, waiting };
    });
  }

  private queue(name: string, concurrency: number): PQueue {
    const known = this.queues.get(name);
    if (known) return known;
    const made = new PQueue({ concurrency });
    this.queues.set(name, made);
    return made;
  }
}

const tooMany = () =>
  new ServiceError("unavailable", "too much waits for its turn already", { retryAfterSeconds: 5 });

/** A signal that ends the waiting, by the turn's signal or its deadline; after the beginning it never fires. */
function givingUp({ signal, deadlineMs }: Turn, began: AbortSignal): { signal: AbortSignal } {
  const waiting = new AbortController();
  const late = () => waiting.abort(new ServiceError("timeout", "the server was too busy to begin in time"));
  const timer = setTimeout(late, Math.min(Math.max(0, deadlineMs - Date.now()), 2 ** 31 - 1));
  const aborted = () => {
    clearTimeout(timer);
    waiting.abort(signal?.reason);
  };
  if (signal?.aborted) aborted();
  signal?.addEventListener("abort", aborted, { once: true });
  const forget = () => {
    clearTimeout(timer);
    signal?.removeEventListener("abort", aborted);
  };
  began.addEventListener("abort", forget, { once: true });
  waiting.signal.addEventListener("abort", forget, { once: true });
  return { signal: waiting.signal };
}
