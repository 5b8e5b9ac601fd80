import { errorText, ServiceError, snapshotNotFound } from "../../errors";
import { LineBudget } from "../../limits/line-budget";
import type { Owner } from "../../sandboxes/scope";
import { within } from "../../within";
import type { IdlePauses } from "./idle-pauses";
import { FAILURES, type Lifecycle, type LifecycleLog } from "./lifecycle";
import type { RecordStore } from "./record-store";
import type { Entry } from "./sandbox-index";
import { checkCapturable } from "./snapshot-checks";
import type { SnapshotCommands } from "./snapshot-commands";
import { changed, type SnapshotRecord } from "./snapshot-record";
import { whenFree } from "./when-free";

/** How long one that failed is told of, and how many of one owner: the newest. */
const KEEP_FAILED_MS = 10 * 60_000;
const KEEP_FAILED = 20;
/** How long a process that the last server left behind may still make a snapshot. */
const INTERRUPTED_MS = 5 * 60_000;
/** How long a capture that is aborted gets to end. */
const END_MS = 3_000;

type Job = { begun: boolean; abort: AbortController; done: Promise<void> };

export type SnapshotWorkOptions = {
  store: RecordStore<SnapshotRecord>;
  commands: SnapshotCommands;
  lifecycle: Pick<Lifecycle, "hold" | "change" | "saveSoon">;
  idle: Pick<IdlePauses, "whileUsed">;
  log: LifecycleLog;
};

/** What is done to snapshots behind the answers: captures, removals, and what a crash left of either. */
export class SnapshotWork {
  private readonly jobs = new Map<string, Job>();
  private readonly removing = new Set<string>();
  /** How many restores work with each. */
  private readonly uses = new Map<string, number>();
  /** Until when something may come of what the last process left half made, by performance.now(). */
  private readonly interrupted = new Map<string, number>();

  /** Why nothing begins any more. */
  private stopping: ServiceError | undefined;

  /** Lines for the failures of each owner's snapshots: asking for what fails costs little. */
  private readonly failures: LineBudget;

  constructor(private readonly options: SnapshotWorkOptions) {
    this.failures = new LineBudget(options.log, { rate: FAILURES, what: "snapshots that failed" });
  }

  /** Settles in memory what the last process left in the middle, before any request; the disk follows. */
  recover(): void {
    const { store } = this.options;
    const message = "the server ended while the snapshot was being made";
    for (const record of [...store.all()])
      if (record.state === "making") {
        this.interrupted.set(record.id, performance.now() + INTERRUPTED_MS);
        void this.keep(changed(record, { state: "failing", failure: { kind: "runtimeFailed", message } }));
      } else if (isTaken(record)) {
        const old = this.replacedBy(record);
        if (old) void this.keep(changed(old, { state: "deleting" }));
      }
  }

  /** Goes on with what was not finished, and forgets failures that were told of for long enough. */
  sweep(now = Date.now()): void {
    const { store } = this.options;
    for (const record of [...store.all()])
      if (record.state === "failing" || record.state === "deleting") this.removeBehind(record);
      else if (record.state === "failed" && now - Date.parse(record.changedAt) >= KEEP_FAILED_MS)
        store.delete(record.id).catch((error) => this.complain(record, error));
  }

  /** Makes one whose record is on disk. */
  begin(record: SnapshotRecord, entry: Entry): void {
    const job: Job = { begun: false, abort: new AbortController(), done: Promise.resolve() };
    if (this.stopping) job.abort.abort(this.stopping);
    this.jobs.set(record.id, job);
    job.done = this.make(record, entry, job).finally(() => this.jobs.delete(record.id));
  }

  /** Whether an owner's capture may wait for its turn. @throws ServiceError unavailable */
  checkTurn = (owner: Owner): void => this.options.commands.checkTurn(owner);

  /** Whether msb is at it. */
  hasBegun = (id: string): boolean => this.jobs.get(id)?.begun === true;

  /** Resolves when nothing is under way with one any more. */
  over = async (id: string): Promise<void> => this.jobs.get(id)?.done;

  /** Holds one for a restore, until `release`. @throws ServiceError snapshotNotFound */
  use(id: string): { selector: string; layers: number; release: () => void } {
    const record = this.options.store.get(id);
    if (record?.state !== "active" || !record.made) throw snapshotNotFound(id);
    this.uses.set(id, (this.uses.get(id) ?? 0) + 1);
    const release = () => {
      const left = (this.uses.get(id) ?? 1) - 1;
      if (left > 0) this.uses.set(id, left);
      else this.uses.delete(id);
      const now = this.options.store.get(id);
      if (now?.state === "deleting") this.removeBehind(now);
    };
    return { selector: this.options.commands.selectorOf(id), layers: record.made.layers, release };
  }

  /** Ends one for everybody, and what it has taken the place of; their files go behind the answer. */
  async remove(record: SnapshotRecord): Promise<void> {
    const old = this.replacedBy(record);
    // Both in memory before anything is awaited: else the old one would have its name again.
    const ended = (old ? [old, record] : [record]).map((one) => changed(one, { state: "deleting" }));
    // A full disk must not keep anybody from making room.
    await Promise.all(ended.map(this.keep));
    for (const one of ended) this.removeBehind(one);
  }

  /** Removes the files of one while nobody waits; what fails is tried again by the sweep. */
  removeBehind(record: SnapshotRecord): void {
    const { id, owner } = record;
    if (this.removing.has(id) || this.uses.has(id) || this.jobs.has(id)) return;
    this.removing.add(id);
    const work = async () => {
      // After a crash a record whose files are gone must not say that they are there.
      await this.options.store.written(id);
      await this.options.commands.remove(record, { owner: owner ?? "" });
      // Until then the sweep looks again.
      if (performance.now() < (this.interrupted.get(id) ?? 0)) return;
      this.interrupted.delete(id);
      // Its record is what tells the next server that the old one is no more.
      if (isTaken(record) && record.replaces !== null && this.options.store.get(record.replaces)) return;
      if (record.state === "deleting") await this.options.store.delete(id);
      else await this.options.store.put({ ...record, state: "failed" });
      this.forgetFailed(owner);
    };
    work()
      .catch((error) => this.complain(record, error))
      .finally(() => this.removing.delete(id));
  }

  /** Ends what is under way: what has begun may finish until then, in milliseconds since the epoch. Never rejects. */
  async finish(deadline: number): Promise<void> {
    this.stopping = new ServiceError("unavailable", "the server was being stopped", {
      retryAfterSeconds: 10,
    });
    this.failures.close();
    const jobs = [...this.jobs.values()];
    const all = Promise.all(jobs.map(({ done }) => done));
    for (const { begun, abort } of jobs) if (!begun) abort.abort(this.stopping);
    if (await within(all, Math.max(0, deadline - Date.now()))) return;
    for (const { abort } of jobs) abort.abort(this.stopping);
    await within(all, END_MS);
  }

  /** Never rejects. */
  private async make(record: SnapshotRecord, entry: Entry, job: Job): Promise<void> {
    const { commands, store, lifecycle, idle } = this.options;
    const { signal } = job.abort;
    try {
      const capture = async () => {
        job.begun = true;
        this.countLayer(entry);
        await commands.capture(record.id, entry.record.handle, signal);
        return commands.read(record, entry.record.name);
      };
      const check = (each: Entry) => checkCapturable(each, "now");
      const made = await commands.inTurn({ owner: record.owner ?? "", signal }, () =>
        idle.whileUsed(entry, signal, () => whenFree(lifecycle, entry, { signal, check }, capture)),
      );
      await store.put(changed(record, { state: "active", made }));
    } catch (error) {
      const kind = error instanceof ServiceError ? error.kind : "runtimeFailed";
      this.complain(record, error, "a snapshot was not made");
      // What msb has left goes with the next sweep.
      const state = job.begun ? "failing" : "failed";
      // Of what it was to be, only its name is told.
      const failure = { kind, message: errorText(error) };
      await this.keep(changed(record, { state, labels: {}, failure }));
      this.forgetFailed(record.owner);
      return;
    }
    const old = this.replacedBy(record);
    if (old) await this.remove(old);
  }

  /** Failures cost little to ask for: of one owner only the newest are kept. */
  private forgetFailed(owner: Owner): void {
    const { store } = this.options;
    const failed = [...store.all()].filter((each) => each.state === "failed" && each.owner === owner);
    if (failed.length <= KEEP_FAILED) return;
    failed.sort((one, other) => Date.parse(one.changedAt) - Date.parse(other.changedAt));
    for (const each of failed.slice(0, -KEEP_FAILED))
      store.delete(each.id).catch((error) => this.complain(each, error));
  }

  /** Each capture of a running sandbox adds a file to its disk, also one that fails. */
  private countLayer(entry: Entry): void {
    if (entry.record.state !== "running") return;
    this.options.lifecycle.change(entry, { layers: entry.record.layers + 1 });
    this.options.lifecycle.saveSoon(entry);
  }

  /** The one whose place it has taken, where that is still there. */
  private replacedBy({ replaces }: SnapshotRecord): SnapshotRecord | undefined {
    const old = replaces === null ? undefined : this.options.store.get(replaces);
    return old?.state === "active" ? old : undefined;
  }

  /** In memory at once; the disk may have no room for it now. Never rejects. */
  private keep = (record: SnapshotRecord): Promise<void> =>
    this.options.store.put(record).catch((error) => this.complain(record, error));

  private complain(
    { id, owner }: SnapshotRecord,
    error: unknown,
    what = "snapshot cleanup failed; it is retried",
  ): void {
    if (this.failures.take(owner ?? "")) this.options.log.warn({ snapshot: id, err: errorText(error) }, what);
  }
}

/** Whether one has, or has had, the place of the one that it replaces. */
const isTaken = ({ state }: SnapshotRecord): boolean => state === "active" || state === "deleting";
