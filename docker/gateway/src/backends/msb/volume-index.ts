import { ServiceError, volumeNotFound } from "../../errors";
import type { Limits, OwnerLimits } from "../../limits/capacity";
import type { Owner, Scope, Usage } from "../../sandboxes/backend";
import { sizeOfLabels } from "../../sandboxes/fields";
import { NamesByOwner } from "../../sandboxes/names-by-owner";
import { comparePositions } from "../../sandboxes/scope";
import { GIB } from "../../sandboxes/volume-files";
import type { RecordStore } from "./record-store";
import type { VolumeRecord } from "./volume-record";

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
  /** What is in the folders of those that are no disks. */
  private readonly folderSizes = new Map<string, FolderSize>();

  constructor(private readonly store: Pick<RecordStore<VolumeRecord>, "get" | "follow">) {
    store.follow((before, after) => {
      if (before) this.leave(before);
      if (after) this.enter(after);
      else if (before) this.folderSizes.delete(before.id);
    });
  }

  /** Those of one owner, or of all, the oldest first. */
  active(owner: Owner | undefined): VolumeRecord[] {
    const found = [...this.of(owner).records.values()].filter(({ state }) => state === "active");
    return found.sort(comparePositions);
  }

  /** Those that are folders, of one owner or of all. */
  *folders(owner: Owner | undefined): Generator<VolumeRecord> {
    for (const record of this.of(owner).records.values())
      if (record.state === "active" && record.capacityBytes === null) yield record;
  }

  isMeasured = (id: string): boolean => this.folderSizes.get(id)?.measured !== undefined;

  /** What is written from here on may be missed by the measure that begins. */
  beginMeasure(id: string): void {
    this.resize(id, (size) => ({ ...size, before: size.before + size.added, added: 0 }));
  }

  /** What a measure has found. */
  measured(id: string, measured: number): void {
    this.resize(id, (size) => ({ ...size, measured, before: 0 }));
  }

  /** So many bytes are being written, or no more where there are fewer. */
  writing(id: string, bytes: number): void {
    this.resize(id, (size) => ({ ...size, writing: size.writing + bytes }));
  }

  /** So many bytes of that were written, and are there. */
  written(id: string, bytes: number): void {
    this.resize(id, (size) => ({ ...size, writing: size.writing - bytes, added: size.added + bytes }));
  }

  /** How many there are, what they are promised, and what is in folders. Those on their way out count too: what is left of them takes room. */
  usage(owner?: Owner): Pick<Usage, "volumes" | "volumeGib"> {
    const { made } = this.of(owner);
    return { volumes: made.count, volumeGib: made.bytes / GIB };
  }

  /** The one of that name, of one owner or of all: one that is being made holds its name, one that is removed does not. */
  named(name: string, owner: Owner | undefined): VolumeRecord | undefined {
    for (const id of this.names.of(name, owner)) {
      const record = this.store.get(id);
      if (record?.state === "making" || record?.state === "active") return record;
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
      if (known.bytes + gib * GIB > volumeGib * GIB) throw tooManyBytes(whose, volumeGib);
      if (labels > 0 && known.labels + labels > mostLabels)
        throw new ServiceError("noCapacity", `${whose} at most ${mostLabels} characters of volumes' labels`);
    };
    check("the server keeps", this.all, limits, MOST_LABELS.all);
    check(`the key ${JSON.stringify(owner)} may have`, this.of(owner), limitsOf(owner), MOST_LABELS.own);
  }

  /**
   * Whether so many bytes more may be in an owner's volumes.
   * @param most the bytes that the owner may have here, where somebody else knows of more limits
   * @throws ServiceError noCapacity, with the limit
   */
  checkBytes(
    owner: Owner,
    more: number,
    { limits, limitsOf }: VolumeLimits,
    most = Number.POSITIVE_INFINITY,
  ): void {
    if (this.all.known.bytes + more > limits.volumeGib * GIB)
      throw tooManyBytes("the server keeps", limits.volumeGib);
    const own = this.of(owner).known.bytes + more;
    const whose = `the key ${JSON.stringify(owner)} may have`;
    const { volumeGib = Number.POSITIVE_INFINITY } = limitsOf(owner);
    if (own > volumeGib * GIB) throw tooManyBytes(whose, volumeGib);
    if (own > most)
      throw new ServiceError(
        "noCapacity",
        `${whose} no more GiB in volumes on all servers together; remove some`,
      );
  }

  private of = (owner: Owner | undefined): Volumes =>
    owner === undefined ? this.all : (this.byOwner.get(owner) ?? new Volumes());

  private enter(record: VolumeRecord): void {
    const own = this.of(record.owner);
    this.byOwner.set(record.owner, own);
    for (const volumes of [this.all, own]) volumes.enter(record, this.sizeOf(record));
    this.names.add(record, record.id);
  }

  private leave(record: VolumeRecord): void {
    const own = this.of(record.owner);
    for (const volumes of [this.all, own]) volumes.leave(record, this.sizeOf(record));
    if (own.records.size === 0) this.byOwner.delete(record.owner);
    this.names.delete(record, record.id);
  }

  /** A capacity, or what is in a folder. */
  private sizeOf({ id, capacityBytes }: VolumeRecord): number {
    if (capacityBytes) return capacityBytes;
    const { measured = 0, before, added, writing } = this.folderSizes.get(id) ?? NEW_FOLDER;
    return measured + before + added + writing;
  }

  /** Of a volume that is no more, nothing is kept. */
  private resize(id: string, change: (size: FolderSize) => FolderSize): void {
    const record = this.store.get(id);
    if (!record) return;
    const before = this.sizeOf(record);
    this.folderSizes.set(id, change(this.folderSizes.get(id) ?? NEW_FOLDER));
    const more = this.sizeOf(record) - before;
    for (const volumes of [this.all, this.of(record.owner)]) volumes.grow(record, more);
  }
}

/** Bytes in a folder: each is counted in one of these. */
type FolderSize = {
  /** By the last measure; undefined where there was none. */
  measured?: number;
  /** Written before the measure under way began, or the last one that failed. */
  before: number;
  /** Written since then. */
  added: number;
  /** Being written. */
  writing: number;
};
const NEW_FOLDER: FolderSize = { before: 0, added: 0, writing: 0 };

const tooManyBytes = (whose: string, gib: number) =>
  new ServiceError("noCapacity", `${whose} at most ${gib} GiB in volumes; remove some, or files in them`);

/** Some volumes, and what they are together. */
class Volumes {
  readonly records = new Map<string, VolumeRecord>();
  readonly known = { count: 0, bytes: 0, labels: 0 };
  /** Without those that are being made. */
  readonly made = { count: 0, bytes: 0, labels: 0 };

  enter(record: VolumeRecord, bytes: number): void {
    this.records.set(record.id, record);
    this.add(record, bytes, 1);
  }

  leave(record: VolumeRecord, bytes: number): void {
    this.records.delete(record.id);
    this.add(record, bytes, -1);
  }

  grow({ state }: VolumeRecord, bytes: number): void {
    for (const sum of this.sums(state)) sum.bytes += bytes;
  }

  private add({ state, labels }: VolumeRecord, bytes: number, sign: 1 | -1): void {
    for (const sum of this.sums(state)) {
      sum.count += sign;
      sum.bytes += sign * bytes;
      sum.labels += sign * sizeOfLabels(labels);
    }
  }

  private sums(state: VolumeRecord["state"]) {
    if (state === "removed") return [];
    return state === "making" ? [this.known] : [this.known, this.made];
  }
}
