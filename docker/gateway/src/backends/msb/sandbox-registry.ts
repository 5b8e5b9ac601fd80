import { randomUUID } from "node:crypto";
import { type Busy, statusOf } from "../../http/sandbox-body";
import type { Share } from "../../limits/capacity";
import type { SandboxStatus } from "../../sandboxes/spec";
import type { RecordStore } from "./record-store";
import type { MsbSandboxes, Resolved } from "./sandbox-commands";
import type { SandboxRecord } from "./sandbox-record";
import type { MsbView } from "./status-cache";

/** Seconds for which a sandbox that removed itself still answers `stopped`. */
export const TOMBSTONE_SECONDS = 120;

export type FindOptions = {
  /** For a caller that learns by itself whether it still runs: msb is not asked about one that did. */
  aliveWillDo?: boolean;
};

/** The states in which a microVM holds memory. */
const ALIVE = new Set<SandboxStatus>(["starting", "running", "stopping"]);

/**
 * The gateway's records beside msb's rows: finds one by id or name, takes in what msb made
 * without us, lets go of what it removed without us.
 */
export class SandboxRegistry {
  private readonly busy = new Map<string, Busy>();
  private changes = 0;
  private reconciled = "";
  private readonly names = new Map<string, string>();
  private readonly resolving = new Map<string, Promise<SandboxRecord>>();

  constructor(
    readonly store: RecordStore<SandboxRecord>,
    readonly view: MsbView,
    private readonly msb: Pick<MsbSandboxes, "inspect">,
  ) {
    for (const record of store.all()) this.index(record);
  }

  /** Changes whenever an answer about any sandbox would. */
  revision = (): string => `${this.changes}.${this.view.revision}`;

  isBusy = (id: string): boolean => this.busy.has(id);

  /** Notes what the gateway is doing with a sandbox; undefined when it is done. */
  setBusy(id: string, busy: Busy | undefined): void {
    this.changes++;
    if (busy) this.busy.set(id, busy);
    else this.busy.delete(id);
  }

  get = (id: string): SandboxRecord | undefined => this.store.get(id);

  /** The record that holds a name; a sandbox that is gone holds none. */
  holder(name: string): SandboxRecord | undefined {
    const record = this.store.get(this.names.get(name) ?? "");
    return record?.phase === "gone" ? undefined : record;
  }

  save(record: SandboxRecord): Promise<void> {
    this.changes++;
    this.index(record);
    return this.store.put(record);
  }

  /** Changes fields of a record that still exists, and waits for the disk. */
  async update(id: string, change: Partial<SandboxRecord>): Promise<SandboxRecord | undefined> {
    const record = this.store.get(id);
    if (!record) return undefined;
    const changed = { ...record, ...change };
    await this.save(changed);
    return changed;
  }

  drop(record: SandboxRecord): Promise<void> {
    this.changes++;
    if (this.names.get(record.name) === record.id) this.names.delete(record.name);
    return this.store.delete(record.id);
  }

  status(record: SandboxRecord): SandboxStatus {
    return statusOf(record, this.view.last().get(record.name), this.busy.get(record.id));
  }

  alive = (record: SandboxRecord): boolean => record.phase !== "gone" && ALIVE.has(this.status(record));

  /** Those that hold memory, with what they were promised. */
  *running(): Generator<[string, Share]> {
    for (const record of this.store.all()) if (this.alive(record)) yield [record.id, shareOf(record)];
  }

  byId = (id: string, options?: FindOptions): Promise<SandboxRecord | undefined> =>
    this.find(() => this.store.get(id), options);

  byName = (name: string, options?: FindOptions): Promise<SandboxRecord | undefined> =>
    this.find(() => this.store.get(this.names.get(name) ?? ""), options);

  private async find(
    lookUp: () => SandboxRecord | undefined,
    { aliveWillDo }: FindOptions = {},
  ): Promise<SandboxRecord | undefined> {
    const known = lookUp();
    if (known && (this.view.isFresh(known.name) || (aliveWillDo && this.alive(known)))) return known;
    await this.reconcile();
    return lookUp();
  }

  /** Brings the records in line with msb's rows. */
  async reconcile(maxAgeMs?: number): Promise<void> {
    const rows = await this.view.get(maxAgeMs);
    if (this.reconciled === this.revision()) return;
    this.reconciled = this.revision();
    const writes: Promise<unknown>[] = [];
    for (const row of rows.values())
      if (!this.holder(row.name)) writes.push(this.adopt(row.name, row.createdAt));
    for (const record of this.store.all()) {
      if (record.phase !== "known" || this.busy.has(record.id)) continue;
      if (!rows.has(record.name)) writes.push(this.vanished(record));
      else if (record.startedAt && !record.stoppedAt && !this.alive(record))
        writes.push(this.update(record.id, { stoppedAt: new Date().toISOString() }));
    }
    await Promise.all(writes);
  }

  /** The record with what msb made of it; asked once. */
  async resolved(record: SandboxRecord): Promise<SandboxRecord> {
    if (record.resolved || record.phase !== "known" || this.busy.has(record.id)) return record;
    const under = this.resolving.get(record.id);
    if (under) return under;
    const work = this.inspect(record).finally(() => this.resolving.delete(record.id));
    this.resolving.set(record.id, work);
    return work;
  }

  private async inspect(record: SandboxRecord): Promise<SandboxRecord> {
    const found = await this.msb.inspect(record.name).catch(() => undefined);
    if (!found) return record;
    return (await this.update(record.id, { resolved: resolvedOf(found) })) ?? record;
  }

  /** Leaves a record that answers `stopped` for a while; it holds its name no longer. */
  bury(record: SandboxRecord): Promise<void> {
    const stoppedAt = record.stoppedAt ?? new Date().toISOString();
    const keepUntil = Date.now() + TOMBSTONE_SECONDS * 1000;
    return this.save({ ...record, phase: "gone", stoppedAt, keepUntil });
  }

  private vanished(record: SandboxRecord): Promise<void> {
    return record.ephemeral ? this.bury(record) : this.drop(record);
  }

  private async adopt(name: string, createdAt: string): Promise<void> {
    const record: SandboxRecord = {
      id: randomUUID(),
      name,
      slug: name,
      owner: null,
      phase: "known",
      answered: true,
      ephemeral: false,
      spec: null,
      resolved: null,
      createdAt,
      startedAt: null,
      stoppedAt: null,
      expiresAt: null,
      keepUntil: null,
      lastFailure: null,
    };
    await this.save(record);
    await this.resolved(record);
  }

  private index(record: SandboxRecord): void {
    const holder = this.store.get(this.names.get(record.name) ?? "");
    const taken = holder && holder.id !== record.id && holder.phase !== "gone";
    if (!(taken && record.phase === "gone")) this.names.set(record.name, record.id);
  }
}

export function shareOf({ spec, resolved, owner }: SandboxRecord): Share {
  return {
    owner,
    vcpus: spec?.resources.vcpus ?? resolved?.vcpus ?? 1,
    memoryMib: spec?.resources.memory_mib ?? resolved?.memoryMib ?? 512,
  };
}

function resolvedOf({ image, resources, runtime, labels }: Resolved): SandboxRecord["resolved"] {
  const { cpus, memory_mib } = resources;
  return { ...runtime, reference: image.Oci?.reference ?? "", vcpus: cpus, memoryMib: memory_mib, labels };
}
