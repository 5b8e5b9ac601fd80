import { ServiceError, volumeNotFound } from "../../errors";
import type { Limits, OwnerLimits } from "../../limits/capacity";
import type { Owner, Scope, Usage } from "../../sandboxes/backend";
import { sizeOfLabels } from "../../sandboxes/fields";
import { NamesByOwner } from "../../sandboxes/names-by-owner";
import { comparePositions } from "../../sandboxes/scope";
import type { RecordStore } from "./record-store";
import type { VolumeRecord } from "./volume-record";

export const GIB = 1024 ** 3;
/** UTF-16 units that the labels of all volumes may have, and those of one owner's: a list of volumes has no pages. */
const MOST_LABELS = { all: 4 * 1024 * 1024, own: 1024 * 1024 };

export type VolumeLimits = {
  limits: Pick<Limits, "volumes" | "volumeGib">;
  limitsOf: (owner: Owner) => OwnerLimits;
};

/**
 * What the records say of volumes: which there are, which one is meant, and whether one more may be made. No request looks
 * at those of other owners, and only a list looks at all of its own.
 */
export class VolumeIndex {
  private readonly all = new Volumes();
  private readonly byOwner = new Map<Owner, Volumes>();
  private readonly names = new NamesByOwner<string>();

  constructor(private readonly store: Pick<RecordStore<VolumeRecord>, "get" | "follow">) {
    store.follow((before, after) => {
      if (before) this.leave(before);
      if (after) this.enter(after);
    });
  }

  /** Those of one owner, or of all, the oldest first. */
  active(owner: Owner | undefined): VolumeRecord[] {
    const found = [...this.of(owner).records.values()].filter(({ state }) => state === "active");
    return found.sort(comparePositions);
  }

  /** How many there are, and what they are promised. Those on their way out count too: what is left of them takes room. */
  usage(owner?: Owner): Pick<Usage, "volumes" | "volumeGib"> {
    const { made } = this.of(owner);
    return { volumes: made.count, volumeGib: Math.ceil(made.bytes / GIB) };
  }

  /** The one of that name, of one owner or of all: one that is being made holds its name, one that is removed does not. */
  named(name: string, owner: Owner | undefined): VolumeRecord | undefined {
    for (const id of this.names.of(name, owner)) {
      const record = this.store.get(id);
      if (record && record.state !== "deleting") return record;
    }
    return undefined;
  }

  /** The one of that id; another owner's is none. */
  lookUp(id: string, { owner }: Scope): VolumeRecord | undefined {
    const record = this.store.get(id);
    const isSeen = record?.state === "active" && (owner === undefined || record.owner === owner);
    return isSeen ? record : undefined;
  }

  /** @throws ServiceError volumeNotFound, for another owner's too */
  find(id: string, scope: Scope): VolumeRecord {
    const record = this.lookUp(id, scope);
    if (!record) throw volumeNotFound(id);
    return record;
  }

  /**
   * Whether an owner may make one more.
   * @param wanted its capacity, 0 for a folder, and the UTF-16 units of its labels
   * @throws ServiceError noCapacity, with the limit
   */
  checkLimits(
    owner: Owner,
    { gib, labels }: { gib: number; labels: number },
    { limits, limitsOf }: VolumeLimits,
  ): void {
    // Those that are being made count, too: as many may be asked for at once. So does what is not yet removed.
    const check = (whose: string, { known }: Volumes, most: OwnerLimits, mostLabels: number) => {
      const { volumes: count = Infinity, volumeGib = Infinity } = most;
      if (known.count + 1 > count)
        throw new ServiceError("noCapacity", `${whose} at most ${count} volumes; remove some`);
      if (gib > 0 && known.bytes / GIB + gib > volumeGib)
        throw new ServiceError("noCapacity", `${whose} at most ${volumeGib} GiB in volumes with a capacity`);
      if (labels > 0 && known.labels + labels > mostLabels)
        throw new ServiceError("noCapacity", `${whose} at most ${mostLabels} characters of volumes' labels`);
    };
    check("the server keeps", this.all, limits, MOST_LABELS.all);
    check(`the key ${JSON.stringify(owner)} may have`, this.of(owner), limitsOf(owner), MOST_LABELS.own);
  }

  private of = (owner: Owner | undefined): Volumes =>
    owner === undefined ? this.all : (this.byOwner.get(owner) ?? new Volumes());

  private enter(record: VolumeRecord): void {
    const own = this.of(record.owner);
    this.byOwner.set(record.owner, own);
    for (const volumes of [this.all, own]) volumes.enter(record);
    this.names.add(record, record.id);
  }

  private leave(record: VolumeRecord): void {
    const own = this.of(record.owner);
    for (const volumes of [this.all, own]) volumes.leave(record);
    if (own.records.size === 0) this.byOwner.delete(record.owner);
    this.names.delete(record, record.id);
  }
}

/** Some volumes, and what they are together. */
class Volumes {
  readonly records = new Map<string, VolumeRecord>();
  readonly known = { count: 0, bytes: 0, labels: 0 };
  /** Without those that are being made. */
  readonly made = { count: 0, bytes: 0, labels: 0 };

  enter(record: VolumeRecord): void {
    this.records.set(record.id, record);
    this.add(record, 1);
  }

  leave(record: VolumeRecord): void {
    this.records.delete(record.id);
    this.add(record, -1);
  }

  private add({ state, capacityBytes, labels }: VolumeRecord, sign: 1 | -1): void {
    for (const sum of state === "making" ? [this.known] : [this.known, this.made]) {
      sum.count += sign;
      sum.bytes += sign * (capacityBytes ?? 0);
      sum.labels += sign * sizeOfLabels(labels);
    }
  }
}
