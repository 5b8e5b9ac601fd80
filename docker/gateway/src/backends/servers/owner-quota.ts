import { ServiceError } from "../../errors";
import { Capacity, type OwnerLimits } from "../../limits/capacity";
import type { Owner, Usage } from "../../sandboxes/backend";

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
};

/** What is being made: the servers may count it already, or not yet. */
type UnderWay = { asked: Asked; over: Promise<unknown> };

const NO_LIMITS = {
  ...{ sandboxes: Infinity, totalSandboxes: Infinity, memoryMib: Infinity, cpus: Infinity },
  ...{ sandboxMemoryMib: Infinity, sandboxCpus: Infinity, sandboxDiskMib: Infinity },
  ...{ volumes: Infinity, volumeGib: Infinity, snapshots: Infinity, imageGib: Infinity },
};

/**
 * What an owner may have on all servers together. Of an owner that has limits, one request after the other is looked at,
 * and then made beside each other; those that come through another router at the same moment are not seen.
 */
export class OwnerQuota {
  private readonly turns = new Map<Owner, Promise<unknown>>();
  private readonly underWay = new Map<Owner, Set<UnderWay>>();

  constructor(
    readonly limitsOf: (owner: Owner) => OwnerLimits,
    private readonly used: UsedByOwner,
  ) {}

  /** Makes something if it is allowed. @throws ServiceError noCapacity, with the limit and its value */
  async whileMaking<T>(owner: Owner, asked: Asked, make: () => Promise<T>): Promise<T> {
    if (!isLimited(asked, this.limitsOf(owner))) return make();
    const before = this.turns.get(owner) ?? Promise.resolve();
    const turn = before.catch(() => undefined).then(() => this.begin(owner, asked, make));
    this.turns.set(owner, turn);
    try {
      // In an object, as the turn is over when it is begun.
      return await (await turn).made;
    } finally {
      if (this.turns.get(owner) === turn) this.turns.delete(owner);
    }
  }

  private async begin<T>(owner: Owner, asked: Asked, make: () => Promise<T>): Promise<{ made: Promise<T> }> {
    await this.check(owner, asked);
    const all = this.underWay.get(owner) ?? new Set<UnderWay>();
    this.underWay.set(owner, all);
    const made = make();
    const one: UnderWay = { asked, over: made.catch(() => undefined) };
    all.add(one);
    void one.over.then(() => {
      all.delete(one);
      if (all.size === 0 && this.underWay.get(owner) === all) this.underWay.delete(owner);
    });
    return { made };
  }

  /**
   * With all that was under way when the servers were asked. They may count some of that twice: where it is too much, it is
   * looked at again when one of those is over.
   */
  private async check(owner: Owner, asked: Asked): Promise<void> {
    for (;;) {
      const underWay = [...(this.underWay.get(owner) ?? [])];
      const { ofAll, ofSandboxes } = this.used;
      const usage = await (asked.volume || asked.snapshots ? ofAll(owner) : ofSandboxes(owner));
      try {
        return this.compare(owner, asked, underWay.map((each) => each.asked).reduce(plus, usage));
      } catch (error) {
        if (underWay.length === 0) throw error;
        await Promise.race(underWay.map(({ over }) => over));
      }
    }
  }

  /** @throws ServiceError noCapacity */
  private compare(owner: Owner, { made = 0, started, volume, snapshots = 0 }: Asked, usage: Usage): void {
    const limits = this.limitsOf(owner);
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
    most(usage.volumeGib + volume.gib, limits.volumeGib, "GiB in volumes");
  }
}

/** Whether one of the limits is of what is asked for: other limits, of a rate for instance, say nothing of it. */
function isLimited({ made, started, volume, snapshots }: Asked, limits: OwnerLimits): boolean {
  const { totalSandboxes, sandboxes, memoryMib, cpus } = limits;
  const own = [
    ...(made ? [totalSandboxes] : []),
    ...(started ? [sandboxes, memoryMib, cpus] : []),
    ...(volume ? [limits.volumes, limits.volumeGib] : []),
    ...(snapshots ? [limits.snapshots] : []),
  ];
  return own.some((limit) => limit !== undefined);
}

/** What is used when that is made, too. */
function plus(usage: Usage, { made = 0, started, volume, snapshots = 0 }: Asked): Usage {
  const { count, vcpus, memoryMib } = started ?? { count: 0, vcpus: 0, memoryMib: 0 };
  return {
    ...usage,
    total: usage.total + made,
    running: usage.running + count,
    memoryMib: usage.memoryMib + count * memoryMib,
    cpus: usage.cpus + count * vcpus,
    volumes: usage.volumes + (volume ? 1 : 0),
    volumeGib: usage.volumeGib + (volume?.gib ?? 0),
    snapshots: usage.snapshots + snapshots,
  };
}
