import { join } from "node:path";
import {
  ServiceError,
  sandboxNotFound,
  serverStopping,
  snapshotNameTaken,
  snapshotNotFound,
} from "../../errors";
import type { Limits, OwnerLimits } from "../../limits/capacity";
import type { DiskReserve } from "../../limits/disk-reserve";
import { comparePositions, type Owner, type Scope } from "../../sandboxes/scope";
import type {
  Snapshot,
  SnapshotBackend,
  SnapshotOperation,
  SnapshotPage,
  SnapshotQuery,
  SnapshotReference,
  WantedSnapshot,
} from "../../sandboxes/snapshots";
import { allocatedBytes } from "./allocated-bytes";
import { isBefore07 } from "./command-line";
import type { RecordStore } from "./record-store";
import type { SandboxIndex } from "./sandbox-index";
import { checkCapturable } from "./snapshot-checks";
import { SnapshotIndex } from "./snapshot-index";
import { newSnapshotRecord, operationOf, type SnapshotRecord, snapshotOf } from "./snapshot-record";
import type { SnapshotWork } from "./snapshot-work";

export type SnapshotsOptions = {
  home: string;
  namesPerOwner: boolean;
  limits: Pick<Limits, "snapshots">;
  limitsOf: (owner: Owner) => OwnerLimits;
  disk: Pick<DiskReserve, "check" | "checkFor">;
  msbVersion: () => Promise<string>;
  newId: () => string;
};

/** Snapshots of this machine's sandboxes: records say what they are, msb has their files. */
export class MsbSnapshots implements SnapshotBackend {
  private draining = false;
  private readonly index: SnapshotIndex;

  constructor(
    private readonly store: RecordStore<SnapshotRecord>,
    private readonly sandboxes: SandboxIndex,
    private readonly work: SnapshotWork,
    private readonly options: SnapshotsOptions,
  ) {
    this.index = new SnapshotIndex(store);
  }

  async create(wanted: WantedSnapshot): Promise<SnapshotOperation> {
    const { disk, home, msbVersion } = this.options;
    this.refuseWhileDraining();
    if (isBefore07(await msbVersion()))
      throw new ServiceError("unsupported", "snapshots need microsandbox 0.7 on the server");
    const entry = this.sandboxes.get(wanted.sandboxId);
    if (!entry) throw sandboxNotFound(wanted.sandboxId);
    checkCapturable(entry, "soon");
    await disk.check();
    // It is a copy of all that the disk holds.
    await disk.checkFor(await allocatedBytes(join(home, "sandboxes", entry.record.handle)));
    // No await between this and the record that takes the name and a place.
    this.refuseWhileDraining();
    // What can't have its turn leaves nothing behind.
    this.work.checkTurn(wanted.owner);
    const replaced = this.holder(wanted);
    this.checkLimits(wanted.owner, replaced);
    const record = newSnapshotRecord(wanted, replaced?.id ?? null, this.options.newId());
    try {
      await this.store.put(record);
    } catch (error) {
      await this.store.delete(record.id).catch(() => undefined);
      throw error;
    }
    this.work.begin(record, entry);
    return operationOf(record, false);
  }

  async operation(id: string, { owner }: Scope): Promise<SnapshotOperation | undefined> {
    const record = this.store.get(id);
    if (!record || record.state === "deleting" || (owner !== undefined && record.owner !== owner))
      return undefined;
    return operationOf(record, this.work.hasBegun(id));
  }

  async until(id: string, signal: AbortSignal): Promise<SnapshotOperation> {
    const aborted = new Promise<void>((resolve) => {
      if (signal.aborted) resolve();
      signal.addEventListener("abort", () => resolve(), { once: true });
    });
    await Promise.race([this.work.over(id), aborted]);
    const operation = await this.operation(id, {});
    if (!operation) throw snapshotNotFound(id);
    return operation;
  }

  async list({ owner, limit, after }: SnapshotQuery): Promise<SnapshotPage> {
    const all = this.index
      .active(owner)
      .filter((record) => after === undefined || comparePositions(record, after) > 0)
      .sort(comparePositions);
    const items = all.slice(0, limit).flatMap((record) => snapshotOf(record) ?? []);
    return { items, more: all.length > limit };
  }

  async find(reference: SnapshotReference, { owner }: Scope): Promise<Snapshot | undefined> {
    if ("id" in reference) return snapshot(this.index.get(reference.id, owner));
    const { name } = reference;
    return snapshot(this.index.named(name, owner) ?? this.index.withDigest(name, owner));
  }

  async remove(id: string, { owner }: Scope): Promise<void> {
    const record = this.index.get(id, owner);
    if (!record) throw snapshotNotFound(id);
    await this.work.remove(record);
  }

  /** Whether one has the name, or is being made under it. */
  hasName = (name: string, { owner }: Scope): boolean =>
    this.index.isMaking(name, owner) || this.index.named(name, owner) !== undefined;

  /** How many are whole or being made, as limits count them, and what is whole takes on the disk: of one owner, or of all. */
  usage(owner?: Owner): { snapshots: number; snapshotBytes: number } {
    const whole = this.index.active(owner);
    const snapshotBytes = whole.reduce((sum, { made }) => sum + (made?.sizeBytes ?? 0), 0);
    return { snapshots: this.index.count(owner), snapshotBytes };
  }

  /** From now on none is made; what has begun may finish until then, in milliseconds since the epoch. */
  async drain(deadline: number): Promise<void> {
    this.draining = true;
    await this.work.finish(deadline);
  }

  /** Who has the name that is wanted, where that one may be replaced. @throws ServiceError snapshotNameTaken */
  private holder({ name, owner, force }: WantedSnapshot): SnapshotRecord | undefined {
    const own = this.options.namesPerOwner ? owner : undefined;
    if (this.index.isMaking(name, own)) throw snapshotNameTaken(name, "is being made");
    const found = this.index.named(name, own);
    if (found && !force) throw snapshotNameTaken(name);
    return found;
  }

  /** @throws ServiceError noCapacity, with the limit */
  private checkLimits(owner: Owner, replaced: SnapshotRecord | undefined): void {
    const { limits, limitsOf } = this.options;
    const check = (whose: string, count: number, most: number) => {
      if (count + 1 > most)
        throw new ServiceError("noCapacity", `${whose} at most ${most} snapshots; remove some`);
    };
    // Those that are being made count, too: as many may be asked for at once.
    const all = this.index.count() - (replaced ? 1 : 0);
    check("the server keeps", all, limits.snapshots);
    const own = this.index.count(owner) - (replaced?.owner === owner ? 1 : 0);
    check(`the key ${JSON.stringify(owner)} may have`, own, limitsOf(owner).snapshots ?? Infinity);
  }

  private refuseWhileDraining(): void {
    if (this.draining) throw serverStopping();
  }
}

const snapshot = (record: SnapshotRecord | undefined): Snapshot | undefined => record && snapshotOf(record);
