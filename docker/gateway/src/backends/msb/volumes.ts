import { stat } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { ServiceError, volumeNameTaken, volumeNotFound } from "../../errors";
import type { Owner, Scope, Volume, VolumeBackend, WantedVolume } from "../../sandboxes/backend";
import type { KnownVolumes, VolumeReferences } from "../../sandboxes/changes";
import { sizeOfLabels } from "../../sandboxes/fields";
import type { SandboxSpec } from "../../sandboxes/spec";
import { STATES } from "../../sandboxes/states";
import { type FileCaller, GIB, type VolumeFiles } from "../../sandboxes/volume-files";
import { SharedRead } from "../../shared-read";
import { CleanupFailures } from "./cleanup-failures";
import { inTermsOf, type Msb } from "./command-line";
import { FolderBytes } from "./folder-bytes";
import type { LifecycleLog } from "./lifecycle";
import type { RecordStore } from "./record-store";
import type { SandboxIndex } from "./sandbox-index";
import type { SandboxRecord } from "./sandbox-record";
import type { VolumeFileStore } from "./volume-files/store";
import { VolumeFolders } from "./volume-folders";
import { VolumeIndex, type VolumeLimits } from "./volume-index";
import { adopted, capacityOf, listedVolumes, type VolumeRecord, volumeOf } from "./volume-record";
import { VolumeRemovals } from "./volume-removals";
import { volumeRoom } from "./volume-room";

/** The shared volume that is always there: the server's own workspace. */
const DEFAULT_ID = "00000000-0000-4000-8000-000000000002";
/** How long a request waits for a removal, which goes on without it. */
const REMOVE_WAIT_MS = 5_000;
/** How old msb's list of volumes may be. */
const LIST_AGE_MS = 1_000;
const CREATE_TIMEOUT_MS = 10 * 60_000;

export type VolumesOptions = VolumeLimits & {
  home: string;
  workspace: string;
  namesPerOwner: boolean;
  files: VolumeFileStore;
  newId: () => string;
  log: LifecycleLog;
};

/** Named volumes: msb keeps them, called by their records' ids. */
export class MsbVolumes implements VolumeBackend, KnownVolumes {
  private readonly making = new Set<string>();
  /** What msb has, taken in by everybody who asks at the same time. */
  private readonly view = new SharedRead((askedAt) => this.reconcile(askedAt));
  private readonly index: VolumeIndex;
  private readonly folders: VolumeFolders;
  private readonly failures: CleanupFailures;
  private readonly removals: VolumeRemovals;
  private readonly bytes: FolderBytes;

  constructor(
    private readonly msb: Msb,
    private readonly store: RecordStore<VolumeRecord>,
    private readonly sandboxes: SandboxIndex,
    private readonly options: VolumesOptions,
  ) {
    this.index = new VolumeIndex(store);
    this.folders = new VolumeFolders(options.home, options.log);
    this.failures = new CleanupFailures(options.log);
    const { index, folders, failures } = this;
    this.removals = new VolumeRemovals({ msb, store, sandboxes, folders, failures, files: options.files });
    const isWritten = (record: VolumeRecord) =>
      [...sandboxes.usersOf(record)].some(
        ({ record: { state } }) => STATES[state].alive && state !== "paused",
      );
    this.bytes = new FolderBytes({ index, path: folders.path, isWritten, log: options.log });
  }

  close(): void {
    this.failures.close();
    this.bytes.close();
  }

  /** Why msb's list is not to be trusted, where it lacks volumes whose folders are there; as of sandboxes. */
  get distrust(): string | undefined {
    return this.folders.distrust;
  }

  /** Takes in what msb has, and finishes what the last process began. */
  async recover(): Promise<void> {
    for (const { id, state } of this.store.all()) if (state !== "active") this.removals.interrupted(id);
    await this.view.refresh(0);
    this.sweep();
  }

  /** Goes on with what was not finished: removals that failed, and what a crash left half made. */
  sweep(): void {
    for (const record of [...this.store.all()])
      if (record.state !== "active" && !this.making.has(record.id)) void this.removals.begin(record);
    this.bytes.sweep();
  }

  async list({ owner }: Scope): Promise<Volume[]> {
    await this.view.refresh(LIST_AGE_MS);
    return this.index.active(owner).map(volumeOf);
  }

  /** Those made with msb itself have names, too. */
  async known({ ids = [], names = [] }: VolumeReferences, scope: Scope): Promise<string[]> {
    await this.view.refresh(LIST_AGE_MS);
    const there = ids.filter((id) => this.index.lookUp(id, scope));
    return [...there, ...names.filter((name) => this.index.named(name, scope.owner))];
  }

  async shared(): Promise<Volume> {
    const { birthtime, mtime } = await stat(this.options.workspace);
    const nothing = { name: null, owner: null, labels: {}, usedBytes: null, capacityBytes: null };
    return { ...nothing, id: DEFAULT_ID, createdAt: birthtime.toISOString(), updatedAt: mtime.toISOString() };
  }

  async create({ name, labels, owner, capacityGib }: WantedVolume): Promise<Volume> {
    await this.options.files.disk.check();
    await this.view.refresh(LIST_AGE_MS);
    // No await between this and the record.
    if (this.index.named(name, this.options.namesPerOwner ? owner : undefined)) throw volumeNameTaken(name);
    const size = { gib: capacityGib ?? 0, labels: sizeOfLabels(labels) };
    this.index.checkLimits(owner, size, this.options);
    const id = this.options.newId();
    const capacityBytes = capacityGib ? capacityGib * GIB : null;
    const record: VolumeRecord = {
      ...{ id, handle: id, name, labels, owner, state: "making", capacityBytes },
      createdAt: new Date().toISOString(),
    };
    this.making.add(id);
    try {
      await this.store.put(record);
      // A folder has no cap in msb: a volume with one is a disk of that size.
      const disk = capacityGib ? ["--kind", "disk", "--size", `${capacityGib}G`] : [];
      await this.msb.ok(["volume", "create", "--quiet", ...disk, "--name", id], {
        owner,
        timeoutMs: CREATE_TIMEOUT_MS,
      });
      await this.store.put({ ...record, state: "active" });
    } catch (error) {
      void this.removals.begin(record);
      throw inTermsOf(error, { what: "volume", name });
    } finally {
      this.making.delete(id);
    }
    return volumeOf(record);
  }

  async remove(id: string, scope: Scope): Promise<void> {
    if (id === DEFAULT_ID && scope.owner === undefined)
      throw new ServiceError("conflict", "the default volume can't be removed");
    const record = this.index.find(id, scope);
    // One that is removed holds nothing, whatever is still to be done about it.
    for (const { record: sandbox } of this.sandboxes.usersOf(record))
      if (sandbox.desired !== "removed")
        throw new ServiceError(
          "conflict",
          `the volume is in use by the sandbox ${JSON.stringify(sandbox.name)}; remove that first`,
        );
    const deleting: VolumeRecord = { ...record, state: "deleting" };
    // A full disk must not keep anybody from making room.
    await this.store.put(deleting).catch((error) => this.failures.tell(record, error));
    // It counts until it is gone: mostly at once, so that the next one may be made.
    await Promise.race([this.removals.begin(deleting), sleep(REMOVE_WAIT_MS, undefined, { ref: false })]);
  }

  async files(id: string, scope: Scope, caller: FileCaller): Promise<VolumeFiles> {
    if (id === DEFAULT_ID && scope.owner === undefined) return this.options.files.workspace(caller);
    const record = this.index.find(id, scope);
    if (record.capacityBytes === undefined) await this.view.refresh(0);
    const { capacityBytes, handle } = this.index.find(id, scope);
    if (capacityBytes !== null && capacityBytes !== undefined)
      throw new ServiceError(
        "unsupported",
        "the volume is a disk: its files are only to be seen in a sandbox",
      );
    const { index, bytes, options: limits } = this;
    const room = volumeRoom(record, caller, { index, bytes, limits });
    return this.options.files.named(this.folders.path(handle), caller, room);
  }

  /** Ids of the volumes that a spec mounts, by name. @throws ServiceError volumeNotFound, for another owner's too */
  async idsFor({ mounts }: SandboxSpec, owner: Owner): Promise<Record<string, string>> {
    const names = [...new Set(mounts.flatMap((mount) => (mount.type === "named" ? [mount.name] : [])))];
    const own = this.options.namesPerOwner ? owner : undefined;
    if (names.some((name) => !this.index.named(name, own))) await this.view.refresh(0);
    return Object.fromEntries(
      names.map((name) => {
        const record = this.index.named(name, own);
        if (!record) throw volumeNotFound(name);
        return [name, record.id];
      }),
    );
  }

  /** msb's names for those ids. @throws ServiceError volumeNotFound where one is no more */
  handlesOf(ids: Record<string, string>): Record<string, string> {
    return Object.fromEntries(
      Object.entries(ids).map(([name, id]) => {
        const record = this.store.get(id);
        if (record?.state !== "active") throw volumeNotFound(name);
        return [name, record.handle];
      }),
    );
  }

  /** Which of the volumes of those ids are disks; one that is not known counts as one. */
  async disksAmong(ids: string[]): Promise<Set<string>> {
    const capacity = (id: string) => this.store.get(id)?.capacityBytes;
    if (ids.some((id) => capacity(id) === undefined)) await this.view.refresh(0);
    return new Set(ids.filter((id) => capacity(id) !== null));
  }

  /** A guest that mounts them begins to write, or has ended or was paused. */
  noteUse({ volumes }: SandboxRecord): void {
    for (const id of Object.values(volumes)) {
      const record = this.store.get(id);
      if (record) this.bytes.note(record);
    }
  }

  usage = (owner?: Owner) => this.index.usage(owner);

  /** Takes in what was made with msb itself, and lets go of what was removed with it. */
  private async reconcile(askedAt: number): Promise<void> {
    // What came or went while msb made its list is not for the list to tell.
    const before = this.index.active(undefined);
    const rows = await this.msb.json(["volume", "ls"], listedVolumes, { owner: null });
    const byHandle = new Map([...this.store.all()].map((record) => [record.handle, record]));
    const writes = rows.map(async (row) => {
      const known = byHandle.get(row.name);
      const letGo = this.removals.wasRemoved(row.name, askedAt);
      if (!known && !letGo) await this.keep(adopted(row, this.options.newId()));
      else if (known && known.capacityBytes === undefined)
        await this.keep({ ...known, capacityBytes: capacityOf(row) });
    });
    const there = new Set(rows.map(({ name }) => name));
    const unlisted = new Set<string>();
    for (const record of before) {
      if (there.has(record.handle) || this.store.get(record.id)?.state !== "active") continue;
      // A list alone ends no record: with it goes whose the files are.
      if (this.folders.has(record.handle)) unlisted.add(record.handle);
      else writes.push(this.store.delete(record.id).catch((error) => this.failures.tell(record, error)));
    }
    this.folders.note(unlisted);
    this.removals.forget(askedAt);
    await Promise.all(writes);
  }

  /** In memory at once; the disk may have no room for it now. */
  private keep = (record: VolumeRecord): Promise<void> =>
    this.store.put(record).catch((error) => this.failures.tell(record, error));
}
