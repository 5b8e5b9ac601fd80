import { ServiceError, volumeNotFound } from "../../errors";
import type { Limits, OwnerLimits } from "../../limits/capacity";
import type { Owner, Scope, Usage } from "../../sandboxes/backend";
import { sizeOfLabels } from "../../sandboxes/fields";
import type { RecordStore } from "./record-store";
import type { VolumeRecord } from "./volume-record";

export const GIB = 1024 ** 3;
/** UTF-16 units that the labels of all volumes may have, and those of one owner's: a list of volumes has no pages. */
const MOST_LABELS = { all: 4 * 1024 * 1024, own: 1024 * 1024 };

export type VolumeLimits = {
  limits: Pick<Limits, "volumes" | "volumeGib">;
  limitsOf: (owner: Owner) => OwnerLimits;
};

/** What the records say of volumes: which there are, which one is meant, and whether one more may be made. */
export class VolumeIndex {
  constructor(private readonly store: Pick<RecordStore<VolumeRecord>, "all" | "get">) {}

  /** Those of one owner, or of all, the oldest first. */
  active(owner: Owner | undefined): VolumeRecord[] {
    const all = [...this.store.all()].filter(
      (record) => record.state === "active" && (owner === undefined || record.owner === owner),
    );
    return all.sort((a, b) => (a.createdAt < b.createdAt ? -1 : 1));
  }

  /** How many there are, and what they are promised. Those on their way out count too: what is left of them takes room. */
  usage(owner?: Owner): Pick<Usage, "volumes" | "volumeGib"> {
    const made = [...this.store.all()].filter(
      (record) => record.state !== "making" && (owner === undefined || record.owner === owner),
    );
    return { volumes: made.length, volumeGib: Math.ceil(promisedGib(made)) };
  }

  /** The one of that name, of one owner or of all: one that is being made holds its name, one that is removed does not. */
  named(name: string, owner: Owner | undefined): VolumeRecord | undefined {
    for (const record of this.store.all())
      if (
        record.name === name &&
        record.state !== "deleting" &&
        (owner === undefined || record.owner === owner)
      )
        return record;
    return undefined;
  }

  /** @throws ServiceError volumeNotFound, for another owner's too */
  find(id: string, { owner }: Scope): VolumeRecord {
    const record = this.store.get(id);
    if (record?.state !== "active" || (owner !== undefined && record.owner !== owner))
      throw volumeNotFound(id);
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
    const check = (whose: string, volumes: VolumeRecord[], most: OwnerLimits, mostLabels: number) => {
      const { volumes: count = Infinity, volumeGib = Infinity } = most;
      if (volumes.length + 1 > count)
        throw new ServiceError("noCapacity", `${whose} at most ${count} volumes; remove some`);
      if (gib > 0 && promisedGib(volumes) + gib > volumeGib)
        throw new ServiceError("noCapacity", `${whose} at most ${volumeGib} GiB in volumes with a capacity`);
      const kept = volumes.reduce((sum, volume) => sum + sizeOfLabels(volume.labels), 0);
      if (labels > 0 && kept + labels > mostLabels)
        throw new ServiceError("noCapacity", `${whose} at most ${mostLabels} characters of volumes' labels`);
    };
    // Those that are being made count, too: as many may be asked for at once. So does what is not yet removed.
    const all = [...this.store.all()];
    check("the server keeps", all, limits, MOST_LABELS.all);
    const own = all.filter((record) => record.owner === owner);
    check(`the key ${JSON.stringify(owner)} may have`, own, limitsOf(owner), MOST_LABELS.own);
  }
}

const promisedGib = (volumes: VolumeRecord[]): number =>
  volumes.reduce((sum, { capacityBytes }) => sum + (capacityBytes ?? 0) / GIB, 0);
