import { createHash } from "node:crypto";
import { ServiceError } from "../../errors";
import type { NamedKind } from "../../sandboxes/changes";
import type { Owner } from "../../sandboxes/scope";
import type { Hold, Names } from "./names";

/** A name that something is to bear. */
export type Claim = { kind: NamedKind; owner: Owner; name: string };

type Held = { key: string; hold: Hold };

/** Milliseconds that a server may still be at what it was asked for by somebody who has gone. */
const LOST_MS = 60_000;

export type ClaimsOptions = {
  names: Names;
  /** Whether names are for each owner by itself. */
  namesPerOwner: boolean;
  /**
   * Whether something on any server has the name, or is being made under it.
   * @param before what the registry still knows of an earlier one, of which the servers may not have told yet
   * @throws ServiceError unavailable where that can't be known
   */
  isTaken: (claim: Claim, before?: Hold) => Promise<boolean>;
};

/** Names of things while they are made. After it their servers know them. */
export class Claims {
  constructor(private readonly options: ClaimsOptions) {}

  /**
   * Takes names, makes what is to bear them, all of it or nothing, and leaves each name to its bearer.
   * @param make resolves with the ids of what it made, in the order of the claims
   * @param taken the error for a name that somebody has
   */
  async whileMaking<T extends { id: string }>(
    claims: readonly Claim[],
    taken: (name: string) => ServiceError,
    make: () => Promise<T[]>,
  ): Promise<T[]> {
    const { names } = this.options;
    const holds: Held[] = [];
    try {
      for (const claim of claims) holds.push(await this.take(claim, taken));
      const made = await make();
      const settled = holds.map(({ key, hold }, at) => names.settle(key, hold, made[at]?.id ?? null));
      await Promise.allSettled(settled);
      return made;
    } catch (error) {
      // What may have been made keeps its name until it is known that it was not.
      const isLost = error instanceof ServiceError && error.options.uncertain;
      const giveUp = isLost
        ? ({ key, hold }: Held) => names.settle(key, hold, null)
        : ({ key, hold }: Held) => names.release(key, hold);
      await Promise.allSettled(holds.map(giveUp));
      throw error;
    }
  }

  /** Something is no more. Never rejects: whoever wants its name next asks its server. */
  forget = async (claim: Claim, id: string): Promise<void> =>
    this.options.names.forget(this.keyOf(claim), id).catch(() => undefined);

  /** The registry keeps others away first, so that whatever the servers tell then is not too old. */
  private async take(claim: Claim, taken: (name: string) => ServiceError): Promise<Held> {
    const { names, isTaken } = this.options;
    const key = this.keyOf(claim);
    const first = await names.take(key);
    if ("taken" in first) {
      const hold = first.taken;
      try {
        if (await isTaken(claim)) throw taken(claim.name);
      } catch (error) {
        await names.release(key, hold).catch(() => undefined);
        throw error;
      }
      return { key, hold };
    }
    const { held } = first;
    const isUnderWay =
      held.state === "making" || (held.state === "lost" && Date.now() - held.since < LOST_MS);
    if (isUnderWay || (await isTaken(claim, held))) throw taken(claim.name);
    const second = await names.take(key, held);
    if ("held" in second) throw taken(claim.name);
    return { key, hold: second.taken };
  }

  /** The same for the same name, of any length, and of no other: owners and names may hold any character. */
  private keyOf({ kind, owner, name }: Claim): string {
    const parts = [kind, this.options.namesPerOwner ? owner : null, name];
    return createHash("sha256").update(JSON.stringify(parts)).digest("hex");
  }
}
