import { ServiceError } from "../../errors";
import { Capacity, type OwnerLimits } from "../../limits/capacity";
import type { Owner, Usage, Volume } from "../../sandboxes/backend";

/** What is to be made, or to be started. */
export type Asked = {
  /** Sandboxes that are new. */
  made?: number;
  /** Those that are to run, and what each takes. */
  started?: { count: number; vcpus: number; memoryMib: number };
  /** A volume that is new, with the GiB that it is promised; 0 for a folder, which grows. */
  volume?: { gib: number };
  snapshots?: number;
};

/** What is looked up for a decision. All throw unavailable where it can't be known. */
export type UsedByOwner = {
  /** Of a server that does not answer, what its sandboxes used. */
  ofSandboxes: (owner: Owner) => Promise<Usage>;
  ofAll: (owner: Owner) => Promise<Usage>;
  volumes: (owner: Owner) => Promise<Volume[]>;
};

const NO_LIMITS = {
  ...{ sandboxes: Infinity, totalSandboxes: Infinity, memoryMib: Infinity, cpus: Infinity },
  ...{ sandboxMemoryMib: Infinity, sandboxCpus: Infinity, sandboxDiskMib: Infinity },
  ...{ volumes: Infinity, volumeGib: Infinity, snapshots: Infinity, imageGib: Infinity },
};

/**
 * What an owner may have on all servers together. The requests of one owner that has limits are looked at one after the
 * other; those that come through another router at the same moment are not seen.
 */
export class OwnerQuota {
  private readonly turns = new Map<Owner, Promise<unknown>>();

  constructor(
    private readonly limitsOf: (owner: Owner) => OwnerLimits,
    private readonly used: UsedByOwner,
  ) {}

  /** Makes something if it is allowed. @throws ServiceError noCapacity, with the limit and its value */
  async whileMaking<T>(owner: Owner, asked: Asked, make: () => Promise<T>): Promise<T> {
    if (Object.keys(this.limitsOf(owner)).length === 0) return make();
    const before = this.turns.get(owner) ?? Promise.resolve();
    const turn = before.catch(() => undefined).then(() => this.check(owner, asked).then(make));
    this.turns.set(owner, turn);
    try {
      return await turn;
    } finally {
      if (this.turns.get(owner) === turn) this.turns.delete(owner);
    }
  }

  private async check(owner: Owner, { made = 0, started, volume, snapshots = 0 }: Asked): Promise<void> {
    const limits = this.limitsOf(owner);
    const counts = [snapshots > 0 && limits.snapshots, volume && (limits.volumes ?? limits.volumeGib)];
    const isOfAll = counts.some((limit) => typeof limit === "number");
    const usage = await (isOfAll ? this.used.ofAll(owner) : this.used.ofSandboxes(owner));
    const capacity = new Capacity(NO_LIMITS, () => usage, this.limitsOf);
    if (made > 0) capacity.checkTotal(owner, made);
    if (started) capacity.check(started, owner, started.count);
    const most = (count: number, limit: number | undefined, what: string) => {
      if (count > (limit ?? Infinity))
        throw new ServiceError(
          "noCapacity",
          `the key ${JSON.stringify(owner)} may have at most ${limit} ${what}; remove some`,
        );
    };
    if (snapshots > 0) most(usage.snapshots + snapshots, limits.snapshots, "snapshots");
    if (!volume) return;
    most(usage.volumes + 1, limits.volumes, "volumes");
    if (volume.gib === 0 || limits.volumeGib === undefined) return;
    const promised = (await this.used.volumes(owner)).reduce(
      (sum, each) => sum + (each.capacityBytes ?? 0),
      0,
    );
    most(promised / GIB + volume.gib, limits.volumeGib, "GiB in volumes with a capacity");
  }
}

const GIB = 1024 ** 3;
