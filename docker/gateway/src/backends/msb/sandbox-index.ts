import { randomInt } from "node:crypto";
import {
  type ListQuery,
  noUsage,
  type Owner,
  type Reference,
  type Scope,
  type Usage,
} from "../../sandboxes/backend";
import { type Size, sizeFrom } from "../../sandboxes/compact-sandbox";
import { NamesByOwner } from "../../sandboxes/names-by-owner";
import { OrderedByOwner } from "../../sandboxes/ordered-entries";
import { comparePositions } from "../../sandboxes/scope";
import { STATES } from "../../sandboxes/states";
import { type ChangedIds, ChangeLog } from "./change-log";
import { ChangeWatch } from "./change-watch";
import { isInterrupted, isPaused, type SandboxRecord } from "./sandbox-record";
import type { VolumeRecord } from "./volume-record";
import { VolumeUsers } from "./volume-users";
import { Waits } from "./waits";

/** Not the numbers of an earlier process, nor those of another server: pages are kept by them. */
let versions = randomInt(2 ** 48 - 1);

/** A sandbox in memory: its record, and what is being done with it. */
export class Entry {
  /** Cancels the action under way, where there is one. */
  underWay: AbortController | undefined;
  /** Resolves when the last make is on disk. */
  intent: Promise<void> | undefined;
  /** msb is being asked what it made of it. */
  resolving: Promise<void> | undefined;
  /** It waits for its turn after a restart of the server; a request for it goes first. */
  deferred = false;
  /** No action before that time, by performance.now(): the last one failed. */
  retryAt = 0;
  failures = 0;
  /** When the last action ended, by performance.now(): what msb was asked before says nothing of it. */
  changedAt = Number.NEGATIVE_INFINITY;
  /** The record in memory is newer than the one on disk, and could not be written. */
  unsaved = false;
  ended = false;
  /** A number of this record alone, among all of all sandboxes. */
  version = 0;
  private current!: SandboxRecord;
  private readonly waits = new Waits<Entry>(() => this);

  constructor(record: SandboxRecord) {
    this.record = record;
  }

  /** Never changed itself: a change is another record. */
  get record(): SandboxRecord {
    return this.current;
  }
  set record(record: SandboxRecord) {
    this.current = record;
    versions += 1;
    this.version = versions;
  }

  /** Whether a microVM holds memory, or one is to be started. */
  get holdsRoom(): boolean {
    const { state, desired } = this.record;
    return STATES[state].alive || (desired === "running" && STATES[state].todo.running !== undefined);
  }

  get settled(): boolean {
    const { state, desired } = this.record;
    return this.ended || (this.underWay === undefined && STATES[state].todo[desired] === undefined);
  }

  /** Wakes whoever waits for a change. */
  notify(): void {
    this.waits.wake();
  }

  /** Resolves after a change with which it holds, or when the signal aborts. */
  until = (holds: (entry: Entry) => boolean, signal: AbortSignal): Promise<Entry> =>
    this.waits.until(holds, signal);
}

/**
 * All sandboxes by id, by msb's name, by the clients' names and in the order of their creation, with what they use in
 * all and by owner. No request costs more the more sandboxes there are, but for lists with labels; and those only the more
 * of the same owner there are.
 */
export class SandboxIndex {
  private readonly byId = new Map<string, Entry>();
  private readonly byHandle = new Map<string, Entry>();
  private readonly byName = new NamesByOwner<Entry>();
  private readonly volumeUsers = new VolumeUsers<Entry>();
  private readonly ordered = new OrderedByOwner<Entry>();
  private readonly counted = new Map<Entry, Usage>();
  private readonly used = new Map<Owner, Usage>();
  private readonly usedByAll = noUsage();
  /** From the first question on. */
  private changes: ChangeLog | undefined;
  readonly changeWatch = new ChangeWatch();

  constructor(records: Iterable<SandboxRecord> = []) {
    for (const record of [...records].sort(comparePositions)) this.add(new Entry(record));
  }

  all = (): IterableIterator<Entry> => this.byId.values();
  get = (id: string): Entry | undefined => this.byId.get(id);
  withHandle = (handle: string): Entry | undefined => this.byHandle.get(handle);
  get size(): number {
    return this.byId.size;
  }

  add(entry: Entry): void {
    const { id, handle } = entry.record;
    this.byId.set(id, entry);
    this.byHandle.set(handle, entry);
    this.byName.add(entry.record, entry);
    this.ordered.add(entry);
    this.count(entry);
  }

  delete(entry: Entry): void {
    const { id, handle } = entry.record;
    if (!this.byId.delete(id)) return;
    entry.ended = true;
    this.byHandle.delete(handle);
    this.byName.delete(entry.record, entry);
    this.ordered.delete(entry);
    this.count(entry);
  }

  /** msb calls it otherwise than before. */
  renamed(entry: Entry, before: string): void {
    this.byHandle.delete(before);
    this.byHandle.set(entry.record.handle, entry);
  }

  /** The one that a request means: by name, one that is gone answers only where no other bears the name. */
  find(reference: Reference, { owner }: Scope): Entry | undefined {
    if ("id" in reference) {
      const entry = this.byId.get(reference.id);
      return entry && (owner === undefined || entry.record.owner === owner) ? entry : undefined;
    }
    let last: Entry | undefined;
    for (const bearer of this.byName.of(reference.name, owner)) {
      if (holdsName(bearer)) return bearer;
      if (!last || comparePositions(bearer.record, last.record) > 0) last = bearer;
    }
    return last;
  }

  /** Who holds a name, among those of one owner or of all. */
  holder(name: string, { owner }: Scope): Entry | undefined {
    const found = this.find({ name }, owner === undefined ? {} : { owner });
    return found && holdsName(found) ? found : undefined;
  }

  /** Those that mount a volume. */
  usersOf = (volume: VolumeRecord): Iterable<Entry> => this.volumeUsers.of(volume);

  /** The first ones after a position, of one owner or of all, in the order of creation, and whether there are more. */
  page(
    query: Pick<ListQuery, "owner" | "after" | "limit">,
    isWanted: (entry: Entry) => boolean,
  ): { entries: Entry[]; more: boolean } {
    return this.ordered.page(query, (entry) => holdsName(entry) && isWanted(entry));
  }

  usage(owner?: Owner): Readonly<Usage> {
    return owner === undefined ? this.usedByAll : (this.used.get(owner) ?? noUsage());
  }

  /** What has changed since a moment: those that lists hold, and the ids of those that they hold no longer. */
  changed(since: string | undefined): Omit<ChangedIds, "ids"> & { entries: Entry[]; removed: string[] } {
    if (!this.changes) {
      this.changes = new ChangeLog(this.byId);
      for (const id of this.byId.keys()) this.changes.add(id);
    }
    const { ids, ...rest } = this.changes.since(since);
    const removed = ids.filter((id) => !this.listed(id));
    return { ...rest, entries: ids.flatMap((id) => this.listed(id) ?? []), removed };
  }

  /** The one of that id if lists hold it. */
  listed(id: string): Entry | undefined {
    const entry = this.byId.get(id);
    return entry && holdsName(entry) ? entry : undefined;
  }

  /** Counts a sandbox anew; after every change of its record. */
  count(entry: Entry): void {
    this.changes?.add(entry.record.id);
    if (entry.ended) this.volumeUsers.delete(entry);
    else this.volumeUsers.set(entry);
    const { owner } = entry.record;
    const before = this.counted.get(entry);
    const now = entry.ended ? undefined : usageOf(entry);
    const ofOwner = this.used.get(owner) ?? noUsage();
    this.used.set(owner, ofOwner);
    for (const sum of [this.usedByAll, ofOwner])
      for (const field of Object.keys(sum) as (keyof Usage)[])
        sum[field] += (now?.[field] ?? 0) - (before?.[field] ?? 0);
    if (now) this.counted.set(entry, now);
    else this.counted.delete(entry);
    if (ofOwner.total === 0) this.used.delete(owner);
    this.changeWatch.tell();
  }
}

/** One that is removed holds its name no longer, whatever msb still has of it. */
function holdsName({ record: { state, desired } }: Entry): boolean {
  return state !== "gone" && state !== "removing" && desired !== "removed";
}

function usageOf(entry: Entry): Usage {
  const { vcpus, memoryMib } = shareOf(entry.record);
  const { state } = entry.record;
  const interrupted = isInterrupted(entry.record);
  const running = entry.holdsRoom && !interrupted;
  return {
    total: state === "gone" || interrupted ? 0 : 1,
    running: running ? 1 : 0,
    paused: running && isPaused(entry.record) ? 1 : 0,
    ephemeralRunning: running && entry.record.ephemeral ? 1 : 0,
    memoryMib: running ? memoryMib : 0,
    cpus: running ? vcpus : 0,
    volumes: 0,
    volumeGib: 0,
    snapshots: 0,
    snapshotBytes: 0,
  };
}

/** What it takes of the limits when it runs. */
export const shareOf = ({ spec, resolved }: SandboxRecord): Size => sizeFrom(spec, resolved);
