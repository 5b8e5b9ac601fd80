import { NamesByOwner } from "../../sandboxes/names-by-owner";
import type { Owner } from "../../sandboxes/scope";
import { shortSnapshotId } from "../../sandboxes/snapshot-manifest";
import type { RecordStore } from "./record-store";
import type { SnapshotRecord } from "./snapshot-record";

/**
 * What the records say of snapshots: which there are, and which one is meant. No request looks at those of other owners, and
 * only a list looks at all of its own.
 */
export class SnapshotIndex {
  private readonly all = new Map<string, SnapshotRecord>();
  private readonly byOwner = new Map<Owner, Map<string, SnapshotRecord>>();
  private readonly names = new NamesByOwner<string>();
  /** By whole digests, and by the short ones that msb shows. */
  private readonly digests = new NamesByOwner<string>();
  /** How many have taken the place of each, and are whole. */
  private readonly replacing = new Map<string, number>();
  /** How many of each owner are whole, or being made. */
  private readonly counts = new Map<Owner | undefined, number>();

  constructor(store: Pick<RecordStore<SnapshotRecord>, "follow">) {
    store.follow((before, after) => {
      if (before) this.leave(before);
      if (after) this.enter(after);
    });
  }

  /** Those that are whole, but for one whose place another has just taken; of one owner, or of all. */
  active(owner: Owner | undefined): SnapshotRecord[] {
    const some = owner === undefined ? this.all : this.byOwner.get(owner);
    return [...(some?.values() ?? [])].filter(this.isActive);
  }

  get(id: string, owner: Owner | undefined): SnapshotRecord | undefined {
    const record = this.all.get(id);
    return record && this.isActive(record) && (owner === undefined || record.owner === owner)
      ? record
      : undefined;
  }

  named = (name: string, owner: Owner | undefined): SnapshotRecord | undefined =>
    this.first(this.names.of(name, owner), this.isActive);

  /** The one that a word means that is no name: its digest, whole or short. */
  withDigest = (word: string, owner: Owner | undefined): SnapshotRecord | undefined =>
    this.first(this.digests.of(word, owner), this.isActive);

  isMaking = (name: string, owner: Owner | undefined): boolean =>
    this.first(this.names.of(name, owner), ({ state }) => state === "making") !== undefined;

  /** How many are whole, or being made. */
  count = (owner?: Owner): number => this.counts.get(owner) ?? 0;

  private isActive = ({ id, state }: SnapshotRecord): boolean =>
    state === "active" && !this.replacing.has(id);

  private first(ids: Iterable<string>, is: (record: SnapshotRecord) => boolean): SnapshotRecord | undefined {
    for (const id of ids) {
      const record = this.all.get(id);
      if (record && is(record)) return record;
    }
    return undefined;
  }

  private enter(record: SnapshotRecord): void {
    const { id, owner, made } = record;
    this.all.set(id, record);
    this.byOwner.set(owner, (this.byOwner.get(owner) ?? new Map()).set(id, record));
    this.names.add(record, id);
    for (const name of digestsOf(made)) this.digests.add({ name, owner }, id);
    this.tally(record, 1);
  }

  private leave(record: SnapshotRecord): void {
    const { id, owner, made } = record;
    this.all.delete(id);
    const own = this.byOwner.get(owner);
    own?.delete(id);
    if (own?.size === 0) this.byOwner.delete(owner);
    this.names.delete(record, id);
    for (const name of digestsOf(made)) this.digests.delete({ name, owner }, id);
    this.tally(record, -1);
  }

  private tally({ state, replaces, owner }: SnapshotRecord, by: 1 | -1): void {
    const isWhole = state === "active";
    if (isWhole && replaces !== null) change(this.replacing, replaces, by);
    if (isWhole || state === "making") for (const whose of [owner, undefined]) change(this.counts, whose, by);
  }
}

const digestsOf = (made: SnapshotRecord["made"]): string[] =>
  made ? [made.digest, shortSnapshotId(made.digest)] : [];

/** Changes a figure; one that is nothing is not kept. */
function change<K>(figures: Map<K, number>, key: K, by: number): void {
  const figure = (figures.get(key) ?? 0) + by;
  if (figure === 0) figures.delete(key);
  else figures.set(key, figure);
}
