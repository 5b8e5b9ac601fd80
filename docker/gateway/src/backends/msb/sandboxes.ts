import type { Duplex } from "node:stream";
import { errorText, invalidSpec, sandboxNotFound } from "../../errors";
import type {
  ListQuery,
  LogEntry,
  LogQuery,
  Owner,
  Page,
  Reference,
  RegistryLogin,
  Sandbox,
  SandboxBackend,
  Scope,
  Wanted,
} from "../../sandboxes/backend";
import type { Changes, Mirrored, Whole } from "../../sandboxes/changes";
import type { WantedForks } from "../../sandboxes/forks";
import type { Modification, ModificationPlan, PlannedModification } from "../../sandboxes/modification";
import { labelFilter } from "../../sandboxes/ordered-entries";
import { SandboxRow } from "../../sandboxes/sandbox-row";
import { uncharged } from "../../sandboxes/scope";
import type { Desired } from "../../sandboxes/states";
import { within } from "../../within";
import type { Admission, AdmissionOptions } from "./admission";
import type { EgressLimit } from "./egress-limit";
import type { Forks } from "./forks";
import type { GuestAccess } from "./guest-access";
import type { IdlePauses } from "./idle-pauses";
import type { Lifecycle, LifecycleLog } from "./lifecycle";
import type { Modifications } from "./modifications";
import { checkPauses, checkUp } from "./pausing";
import type { PayloadStore } from "./payload-store";
import type { Resolver } from "./resolver";
import { type Entry, type SandboxIndex, shareOf } from "./sandbox-index";
import { newRecord } from "./sandbox-record";
import { isHidden, sandboxOf } from "./sandbox-view";
import type { StatusCache } from "./status-cache";

export type SandboxesOptions = Omit<AdmissionOptions, "namesPerOwner"> & {
  egress: EgressLimit;
  /** Ids of the volumes that a spec mounts, by name. @throws ServiceError volumeNotFound */
  volumesOf: (spec: Wanted["spec"], owner: Owner) => Promise<Record<string, string>>;
  /** @throws ServiceError volumeNotFound where one is no more */
  checkVolumes: (ids: Record<string, string>) => void;
  payloads: Pick<PayloadStore, "put" | "delete">;
  modifications: Modifications;
  idle: IdlePauses;
  /** Refuses what msb can't be asked for. @throws ServiceError invalidSpec */
  checkSpec: (spec: Wanted["spec"], snapshot: string | undefined) => Promise<void>;
  msbVersion: () => Promise<string>;
  /** @throws ServiceError snapshotNotFound where it is no more */
  checkSnapshot: (id: string) => void;
  newId: () => string;
  /** What came with a create for the pull of its image, by the sandbox's id, until its boot is over. */
  pulls: Map<string, { login?: RegistryLogin; anonymous?: boolean }>;
  /** One that was to run again after the server's stop is not to. */
  withdrawResume: (id: string) => Promise<void>;
  log: LifecycleLog;
};

/** The sandboxes of this machine: msb runs them, records tell what msb does not know. */
export class MsbSandboxes implements SandboxBackend, Mirrored {
  constructor(
    private readonly index: SandboxIndex,
    private readonly lifecycle: Lifecycle,
    private readonly view: StatusCache,
    private readonly resolver: Resolver,
    private readonly admission: Admission,
    private readonly forks: Forks,
    private readonly access: GuestAccess,
    private readonly options: SandboxesOptions,
  ) {}

  async create(wanted: Wanted): Promise<Sandbox> {
    const { egress, capacity, disk, volumesOf, checkSpec, checkVolumes, pulls, payloads, newId } =
      this.options;
    const { spec, owner, desired, login, anonymous, snapshot } = wanted;
    this.admission.refuseWhileDraining();
    if (snapshot !== undefined && desired !== "running")
      throw invalidSpec("source: a sandbox that starts from a snapshot needs start=true");
    if (login && desired !== "running") throw invalidSpec("registry: inline credentials need start=true");
    await disk.check();
    await checkSpec(spec, snapshot);
    const record = newRecord(wanted, egress.required(), newId());
    record.volumes = await volumesOf(spec, owner);
    capacity.checkSize(shareOf(record), spec.resources.disk_size_mib);
    if (desired === "running") await this.admission.lookForRoom(record);
    this.admission.checkNew(record);
    pulls.set(record.id, { login, anonymous });
    let entry: Entry | undefined;
    try {
      await payloads.put(record.id, spec);
      // No await between this and the record that takes the name, the room and the volumes.
      this.admission.checkNew(record);
      checkVolumes(record.volumes);
      if (snapshot !== undefined) this.options.checkSnapshot(snapshot);
      entry = await this.lifecycle.add(record);
      return sandboxOf(entry);
    } finally {
      if (!entry) await payloads.delete(record.id).catch(() => undefined);
      void this.whenSettled(entry).then(() => pulls.delete(record.id));
    }
  }

  async answered(id: string): Promise<void> {
    const entry = this.index.get(id);
    if (entry && !entry.record.answered) await this.lifecycle.update(entry, { answered: true });
  }

  async get(reference: Reference, scope: Scope): Promise<Sandbox | undefined> {
    const entry = this.index.find(reference, scope);
    if (!entry) await this.view.refresh();
    else if (!this.view.isFresh(entry.changedAt)) await this.lookBriefly();
    const found = this.index.find(reference, scope);
    return found && !isHidden(found) ? sandboxOf(found) : undefined;
  }

  async resolve(id: string): Promise<Sandbox | undefined> {
    const entry = this.index.get(id);
    if (!entry) return undefined;
    await this.resolver.resolve(entry);
    return sandboxOf(entry);
  }

  async list({ labels, charged = uncharged, ...query }: ListQuery): Promise<Page> {
    await this.view.refresh();
    const fits = labelFilter(labels);
    const { entries, more } = charged(() => this.index.page(query, ({ record }) => fits(record)));
    return { items: entries.map(sandboxOf), more };
  }

  async changes(since?: string): Promise<Changes> {
    await this.view.refresh();
    const { entries, ...rest } = this.index.changed(since);
    return { ...rest, changed: entries.map((entry) => new SandboxRow(sandboxOf(entry))) };
  }

  async whole(ids: readonly string[], room: number): Promise<Whole> {
    const items: Sandbox[] = [];
    let left = room;
    for (const [at, id] of ids.entries()) {
      const entry = this.index.listed(id);
      if (!entry) continue;
      const sandbox = sandboxOf(entry);
      left -= JSON.stringify(sandbox).length + (entry.record.spec?.length ?? 0);
      if (left < 0 && items.length > 0) return { items, looked: at };
      items.push(sandbox);
    }
    return { items, looked: ids.length };
  }

  watchChanges = (signal: AbortSignal): AsyncIterable<"changed"> => this.index.changeWatch.watch(signal);

  async want(id: string, desired: Desired): Promise<Sandbox> {
    const entry = desired === "removed" ? this.entry(id) : this.visible(id);
    const { state } = entry.record;
    if (state === "gone" && desired === "stopped") return sandboxOf(entry);
    if (state === "gone" && desired === "running") throw sandboxNotFound(id);
    if (desired === "running") {
      await this.admission.lookForStart(entry);
      // No await between this and what takes the room.
      this.admission.checkStart(entry);
    }
    if (desired === "paused") {
      await checkPauses(this.options.msbVersion);
      this.admission.refuseWhileDraining();
      checkUp(entry);
    }
    this.options.idle.begin(entry)();
    // A pause is its client's from now on, also after a crash.
    const ofClient =
      desired === "paused" && entry.record.idle ? this.lifecycle.update(entry, { idle: false }) : undefined;
    await Promise.all([ofClient, this.lifecycle.want(entry, desired)]);
    if (this.admission.draining && desired === "stopped") await this.options.withdrawResume(id);
    return sandboxOf(entry);
  }

  async resume(id: string): Promise<Sandbox> {
    const entry = this.visible(id);
    this.admission.refuseWhileDraining();
    checkUp(entry);
    this.options.idle.begin(entry)();
    // It holds its room already.
    await this.lifecycle.want(entry, "running");
    return sandboxOf(entry);
  }

  async fork(id: string, wanted: WantedForks): Promise<Sandbox[]> {
    return (await this.forks.begin(this.visible(id), wanted)).map(sandboxOf);
  }

  async until(id: string, holds: (sandbox: Sandbox) => boolean, signal: AbortSignal): Promise<Sandbox> {
    const entry = this.entry(id);
    const isOver = () => entry.ended || signal.aborted || holds(sandboxOf(entry));
    if (!isOver()) await entry.until(isOver, signal);
    return sandboxOf(entry);
  }

  async planModification(id: string, change: PlannedModification): Promise<ModificationPlan> {
    const entry = this.visible(id);
    return this.whileUsed(entry, () => this.options.modifications.plan(entry, change));
  }

  async modify(id: string, change: Modification): Promise<ModificationPlan> {
    const entry = this.visible(id);
    return this.whileUsed(entry, () => this.options.modifications.apply(entry, change));
  }

  private whileUsed = <T>(entry: Entry, work: () => Promise<T>): Promise<T> =>
    this.options.idle.whileUsed(entry, AbortSignal.timeout(RESUME_MS), work);

  async openAgent(id: string, signal: AbortSignal): Promise<Duplex> {
    const entry = this.visible(id);
    // It is to run again after a restart of the server: whoever asks for it need not wait for its turn.
    if (entry.deferred) await this.want(id, "running");
    return this.access.openAgent(entry, signal);
  }

  async *logs(id: string, query: LogQuery): AsyncIterable<LogEntry[]> {
    const entry = this.index.get(id);
    if (entry) yield* this.access.log(entry, query);
  }

  /** From now on nothing is made or started. */
  drain(): void {
    this.admission.draining = true;
    this.forks.drain();
  }

  /** @throws ServiceError sandboxNotFound */
  private entry(id: string): Entry {
    const entry = this.index.get(id);
    if (!entry) throw sandboxNotFound(id);
    return entry;
  }

  /** One that was not removed meanwhile. @throws ServiceError sandboxNotFound */
  private visible(id: string): Entry {
    const entry = this.entry(id);
    if (isHidden(entry)) throw sandboxNotFound(id);
    return entry;
  }

  /** For one that is known: an msb that does not answer must not keep anybody from stopping or removing it. */
  private async lookBriefly(): Promise<void> {
    const looked = this.view
      .refresh()
      .catch((error) => this.options.log.warn({ err: errorText(error) }, "msb could not be asked"));
    await within(looked, LOOK_MS);
  }

  private async whenSettled(entry: Entry | undefined): Promise<void> {
    const never = new AbortController().signal;
    if (entry?.underWay) await entry.until(({ ended, underWay }) => ended || !underWay, never);
  }
}

/** How long an answer about a sandbox that is known waits for msb's word. */
const LOOK_MS = 5_000;
/** How long a change waits for a sandbox that is paused for want of use. */
const RESUME_MS = 60_000;
