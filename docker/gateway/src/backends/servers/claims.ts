import { createHash } from "node:crypto";
import { ServiceError } from "../../errors";
import type { Owner } from "../../sandboxes/scope";
import type { Hold, Names } from "./names";

export type Kind = "sandbox" | "volume" | "snapshot";

/** A name that something is to bear. */
export type Claim = { kind: Kind; owner: Owner; name: string };

/** Longer than any server takes to make something, or to refuse to. */
const MAKING_MS = 120_000;

export type ClaimsOptions = {
  names: Names;
  /** Whether names are for each owner by itself. */
  namesPerOwner: boolean;
  /** Whether something bears the name on any server. @throws ServiceError unavailable where one of them does not answer */
  isBorne: (claim: Claim) => Promise<boolean>;
};

/** Names of things while they are made, and after it. */
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
    const holds: { key: string; hold: Hold }[] = [];
    try {
      for (const claim of claims) holds.push(await this.take(claim, taken));
      const made = await make();
      // Where that fails, whoever wants the name later finds what bears it.
      const settled = holds.map(({ key, hold }, at) => names.settle(key, hold, made[at]?.id ?? ""));
      await Promise.allSettled(settled);
      return made;
    } catch (error) {
      // What may have been made keeps its name until it is known that it was not.
      if (!(error instanceof ServiceError && error.options.uncertain))
        await Promise.allSettled(holds.map(({ key, hold }) => names.release(key, hold)));
      throw error;
    }
  }

  /** Something is no more: its name is free, if it was still its own. Never rejects. */
  async free(claim: Claim, id: string): Promise<void> {
    const key = this.keyOf(claim);
    try {
      const hold = await this.options.names.holder(key);
      if (hold?.id === id) await this.options.names.release(key, hold);
    } catch {
      // Whoever wants the name next finds that nothing bears it.
    }
  }

  private async take(claim: Claim, taken: (name: string) => ServiceError) {
    const { names, isBorne } = this.options;
    const key = this.keyOf(claim);
    const first = await names.take(key);
    if ("taken" in first) return { key, hold: first.taken };
    const { held } = first;
    // One that was made may be no more; one that is being made has its time.
    const isUnderWay = held.id === null && Date.now() - held.since < MAKING_MS;
    if (isUnderWay || (await isBorne(claim))) throw taken(claim.name);
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
