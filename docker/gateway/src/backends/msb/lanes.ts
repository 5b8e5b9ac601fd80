import { ServiceError } from "../../errors";
import { withFirstSignal } from "../../first-signal";
import { type GiveBack, type PlaceOwner, SharedPlaces } from "../../limits/shared-places";
import type { Owner } from "../../sandboxes/backend";

/**
 * What waits for what: commands of one lane wait for each other, those of different lanes never do.
 * - reads: lists and questions
 * - stops: stops of sandboxes; they wait for guests rather than compute
 * - pauses: of sandboxes, and their ends; they wait for a guest's file system at most
 * - removals: of sandboxes, which wait for no guest
 * - boots: creates and starts, of images that are there
 * - pulls: downloads of images
 * - captures: snapshots made, layers of disks merged: both copy disks
 * - housekeeping: volumes made and removed, images loaded and removed, snapshots removed
 */
export type Lane =
  | "reads"
  | "pauses"
  | "stops"
  | "removals"
  | "boots"
  | "pulls"
  | "captures"
  | "housekeeping";

/** How many run at once, and how many more may wait; one owner has half. As many stops wait as there are sandboxes. */
const LANES: Record<Lane, { atOnce: number; waiting: number }> = {
  reads: { atOnce: 4, waiting: 2_000 },
  pauses: { atOnce: 16, waiting: 20_000 },
  stops: { atOnce: 16, waiting: Number.POSITIVE_INFINITY },
  removals: { atOnce: 16, waiting: Number.POSITIVE_INFINITY },
  boots: { atOnce: 16, waiting: 20_000 },
  pulls: { atOnce: 4, waiting: 500 },
  captures: { atOnce: 4, waiting: 500 },
  housekeeping: { atOnce: 4, waiting: 500 },
};

export type Turn = {
  /** Whose turn it is, null for the server's own calls: see {@link SharedPlaces} for an owner's share. */
  owner: Owner;
  /** Gives the place up while it waits; the call then fails with the signal's reason. */
  signal?: AbortSignal;
  /** When waiting ends, in milliseconds since the epoch. */
  deadlineMs: number;
};

/** The owner of what the server does by itself. */
const SERVER = Symbol("server");

/** Gives out turns: owners take turns, those of one owner come in the order of asking. */
export class Lanes {
  private readonly lanes = {
    reads: placesOf("reads"),
    pauses: placesOf("pauses"),
    stops: placesOf("stops"),
    removals: placesOf("removals"),
    boots: placesOf("boots"),
    pulls: placesOf("pulls"),
    captures: placesOf("captures"),
    housekeeping: placesOf("housekeeping"),
  } satisfies Record<Lane, LanePlaces>;

  /**
   * Runs work when its turn comes. What has begun is not cut off by the turn's signal or deadline.
   * @throws ServiceError timeout where the turn does not come in time, unavailable where too many wait
   */
  async run<T>(lane: Lane, turn: Turn, work: () => Promise<T>): Promise<T> {
    const { turns, room } = this.lanes[lane];
    const owner = turn.owner ?? SERVER;
    const leave = turns.isFree(owner) ? undefined : enter(room, owner);
    const wait = (signal: AbortSignal) => turns.wait(owner, signal);
    const giveBack = await withFirstSignal(
      [turn.signal],
      wait,
      turn.deadlineMs - Date.now(),
      tooBusy,
    ).finally(leave);
    try {
      turn.signal?.throwIfAborted();
      return await work();
    } finally {
      giveBack();
    }
  }

  /** Whether an owner may wait for a turn now. @throws ServiceError unavailable */
  check(lane: Lane, owner: Owner): void {
    const { turns, room } = this.lanes[lane];
    const whose = owner ?? SERVER;
    if (!turns.isFree(whose) && !room.isFree(whose)) throw tooMany();
  }

  /** Whether anything of a lane runs or waits. */
  isBusy(lane: Lane): boolean {
    const { turns } = this.lanes[lane];
    return turns.inUse + turns.waiting > 0;
  }

  /** What runs and what waits, by lane. */
  counts(): { lane: string; running: number; waiting: number }[] {
    return Object.entries(this.lanes).map(([lane, { turns }]) => ({
      lane,
      running: turns.inUse,
      waiting: turns.waiting,
    }));
  }
}

type LanePlaces = { turns: SharedPlaces; room: SharedPlaces };

const placesOf = (lane: Lane): LanePlaces => ({
  turns: new SharedPlaces(LANES[lane].atOnce, "commands"),
  room: new SharedPlaces(LANES[lane].waiting, "waiting commands"),
});

function enter(room: SharedPlaces, owner: PlaceOwner): GiveBack {
  try {
    return room.take(owner);
  } catch {
    throw tooMany();
  }
}

const tooMany = () =>
  new ServiceError("unavailable", "too much waits for its turn already", { retryAfterSeconds: 5 });

const tooBusy = () => new ServiceError("timeout", "the server was too busy to begin in time");
