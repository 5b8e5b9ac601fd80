import { SharedPlaces } from "../../../limits/shared-places";
import type { Owner } from "../../../sandboxes/scope";
import type { FileCaller } from "../../../sandboxes/volume-files";

/** Node has four threads for files, which all requests share. */
const AT_ONCE = 4;
/** Copies are processes of their own, and may take long. */
const COPIES_AT_ONCE = 4;
/** Volumes that are being emptied. */
const REMOVALS_AT_ONCE = 4;
/** The owner of what belongs to no key. */
const NOBODY = Symbol("nobody");

/** Does a piece of work with files when the caller's turn comes. @throws the reason of the caller's signal */
export type RunTurn = <T>(work: (signal?: AbortSignal) => Promise<T>) => Promise<T>;

export type CallerTurns = {
  /** For a short piece of work, which gets the caller's signal. It must not ask for a turn itself, nor wait for the client. */
  turn: RunTurn;
  /** For a whole copy. */
  copy: RunTurn;
  signal?: AbortSignal;
};

/** Whose work with the files of volumes goes on: owners take turns, and who has gone has none. */
export class FileTurns {
  private readonly turns = new SharedPlaces(AT_ONCE, "works with files");
  private readonly copies = new SharedPlaces(COPIES_AT_ONCE, "copies");
  private readonly removals = new SharedPlaces(REMOVALS_AT_ONCE, "removals of volumes");

  of({ owner, signal }: FileCaller): CallerTurns {
    return {
      turn: (work) => this.turns.run(owner, signal, () => work(signal)),
      copy: (work) => this.copies.run(owner, signal, () => work(signal)),
      signal,
    };
  }

  /** Empties a volume of an owner: in places of the owner's, and in the same turns as what the owner asks for. */
  removal(volumeOwner: Owner, work: (turn: RunTurn) => Promise<void>): Promise<void> {
    const owner = volumeOwner ?? NOBODY;
    return this.removals.run(owner, undefined, () => work(this.of({ owner }).turn));
  }
}
