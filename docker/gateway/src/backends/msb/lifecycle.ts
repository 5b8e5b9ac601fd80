import { isDeepStrictEqual } from "node:util";
import { errorText, ServiceError } from "../../errors";
import { LineBudget } from "../../limits/line-budget";
import { cancels, type Desired, isUp, LEADS_TO, STATES, type State, UNDER_WAY } from "../../sandboxes/states";
import { type Actions, type Doing, NothingMade } from "./actions";
import type { RecordStore } from "./record-store";
import { Retries } from "./retries";
import { Entry, type SandboxIndex } from "./sandbox-index";
import { entering, type SandboxRecord } from "./sandbox-record";
import { inSeconds, isPast, TOMBSTONE_SECONDS } from "./times";

export type LifecycleLog = Record<"info" | "warn" | "error", (fields: object, message: string) => void>;

/** Lines for the failures of each owner's sandboxes: asking for what fails costs little. */
export const FAILURES = { burst: 100, perSecond: 0.5 };
/** How often what may still come of an interrupted create is looked at. */
const INTERRUPTED_LOOK_MS = 10_000;

/**
 * Drives every sandbox along {@link STATES}: one action at a time each, until what is desired holds. Nothing here
 * rejects unseen: an action that fails leads to a state, and a record that can't be written is written later.
 */
export class Lifecycle {
  private readonly retries = new Retries((entry) => {
    if (entry.unsaved) this.saveSoon(entry);
    this.drive(entry);
  });
  /** When a handle was let go of, by performance.now(): a list that was asked for before may still have it. */
  readonly letGo = new Map<string, number>();
  private readonly failures: LineBudget;
  /** Told of each sandbox whose microVM is up, and when it is so no more or is about to stop. */
  onRunning: (entry: Entry, runs: boolean) => void = () => undefined;
  /** Told of each sandbox whose microVM stands still from then on. */
  onPaused: (entry: Entry) => void = () => undefined;
  /** Told of each sandbox whose making is on disk. */
  onMade: (entry: Entry) => void = () => undefined;

  constructor(
    readonly index: SandboxIndex,
    private readonly store: Pick<RecordStore<SandboxRecord>, "put" | "delete"> & {
      deletePayload: (id: string) => Promise<void>;
    },
    private readonly actions: Actions,
    readonly log: LifecycleLog,
  ) {
    this.failures = new LineBudget(log, { rate: FAILURES, what: "actions that failed" });
  }

  close(): void {
    this.failures.close();
    this.retries.close();
  }

  /** Takes up a sandbox that was asked for, and begins. Resolves when it is on disk. @throws ServiceError diskFull */
  async add(record: SandboxRecord): Promise<Entry> {
    const entry = new Entry(record);
    this.index.add(entry);
    this.drive(entry);
    try {
      await (entry.intent ?? this.save(entry));
    } catch (error) {
      this.forget(entry);
      throw error;
    }
    return entry;
  }

  /**
   * Notes what a request desires, if it is not to be removed already, cancels what is in its way, and begins. A removal
   * is on disk when it resolves.
   */
  async want(entry: Entry, desired: Desired): Promise<void> {
    if (entry.ended) return;
    // A removal is not taken back.
    if (entry.record.desired === "removed" && desired !== "removed") return;
    entry.deferred = false;
    entry.retryAt = 0;
    const { state } = entry.record;
    // What is removed on request has no afterlife.
    this.change(entry, desired === "removed" ? { desired, keepUntil: null } : { desired });
    if (cancels(state, desired))
      entry.underWay?.abort(new ServiceError("conflict", "the sandbox was removed"));
    const saved = desired === "removed" ? this.saveOrRetry(entry) : undefined;
    this.drive(entry);
    await saved;
  }

  /** Was stopped for a restart of the server, to go on with it after that; by who holds it. Never rejects. */
  async stoppedForRestart(entry: Entry): Promise<void> {
    const desired = entry.record.desired === "removed" ? "removed" : "stopped";
    this.change(entry, { ...entering(entry.record, "stopped"), desired });
    await this.saveOrRetry(entry);
  }

  /**
   * Works with a sandbox beside its states: what is desired meanwhile is done when that is over, and msb's view waits.
   * To be called where nothing is under way with it; whoever may have to wait for that asks `whenFree`.
   */
  async hold<T>(entry: Entry, work: () => Promise<T>): Promise<T> {
    if (entry.underWay) throw new Error("something else is under way with the sandbox");
    entry.underWay = new AbortController();
    try {
      return await work();
    } finally {
      entry.underWay = undefined;
      entry.changedAt = performance.now();
      entry.notify();
      this.drive(entry);
    }
  }

  /** Changes fields of a record, in memory at once; the promise waits for the disk. @throws ServiceError diskFull */
  update(entry: Entry, change: Partial<SandboxRecord>): Promise<void> {
    this.change(entry, change);
    return this.save(entry);
  }

  /** Begins the next action, if there is one to begin now. */
  drive(entry: Entry): void {
    const { state, desired } = entry.record;
    if (entry.underWay || entry.ended || entry.deferred || performance.now() < entry.retryAt) return;
    const action = STATES[state].todo[desired];
    if (action === "forget") this.forget(entry);
    if (action === undefined || action === "forget") return;
    entry.underWay = new AbortController();
    this.change(entry, { state: UNDER_WAY[action] });
    // Nothing is made of a sandbox that no file tells of.
    entry.intent = action === "make" ? this.save(entry) : undefined;
    this.run(entry, action, state, entry.underWay.signal).catch((error) =>
      this.log.error({ sandbox: entry.record.id, err: error }, "an action ended unforeseen"),
    );
  }

  private async run(entry: Entry, action: Doing, from: State, signal: AbortSignal): Promise<void> {
    const { desired } = entry.record;
    let failure: { error: unknown } | undefined;
    try {
      await entry.intent?.catch((error) => {
        throw new NothingMade(error);
      });
      const gained = await this.actions[action]({ ...entry.record, state: from }, signal);
      entry.failures = 0;
      // A client is told of a new sandbox only when the disk knows it too.
      if (action === "make") await this.saveMade(entry, gained);
      else if (action !== "remove") this.enter(entry, LEADS_TO[action], gained);
    } catch (error) {
      failure = { error };
    }
    entry.underWay = undefined;
    entry.changedAt = performance.now();
    if (failure) this.fail(entry, { action, from, desired }, failure.error);
    else if (action === "remove") this.end(entry);
    entry.notify();
    this.drive(entry);
  }

  private async saveMade(entry: Entry, gained: Partial<SandboxRecord>): Promise<void> {
    const { answered } = entry.record;
    try {
      await this.update(entry, { ...entering(entry.record, "running"), ...gained, answered: true });
      this.onMade(entry);
    } catch (error) {
      this.change(entry, { answered });
      throw error;
    }
  }

  private fail(
    entry: Entry,
    { action, from, desired }: { action: Doing; from: State; desired: Desired },
    error: unknown,
  ): void {
    const { id, answered, ...record } = entry.record;
    const cause = error instanceof NothingMade ? error.cause : error;
    const kind = cause instanceof ServiceError ? cause.kind : "runtimeFailed";
    const failure = { kind, message: errorText(cause) };
    if (this.failures.take(record.owner ?? ""))
      this.log.warn({ sandbox: id, action, err: failure.message }, "an action failed");
    const next = STATES[UNDER_WAY[action]].failed ?? { state: record.state };
    const state = error instanceof NothingMade ? from : next.state;
    // A later request counts more than what the failure leads to; and of what nobody knows nothing stays.
    const leadsTo = record.desired !== desired ? record.desired : (next.desired ?? desired);
    this.enter(entry, state, {
      failure,
      desired: action === "make" && !answered ? "removed" : leadsTo,
    });
    if (STATES[state].todo[entry.record.desired] === action) this.retries.later(entry);
  }

  /** Puts a sandbox into a state in which nothing is under way; on disk as soon as that works. */
  enter(entry: Entry, state: State, change: Partial<SandboxRecord> = {}): void {
    this.change(entry, { ...entering(entry.record, state), ...change });
    const { ephemeral, desired } = entry.record;
    if (ephemeral && (state === "stopped" || state === "failed") && desired !== "removed")
      this.change(entry, { desired: "removed", keepUntil: inSeconds(TOMBSTONE_SECONDS) });
    // One that never ran is told of as failed, for as long as one that did.
    if (ephemeral && state === "unmade" && desired === "stopped")
      this.change(entry, { keepUntil: inSeconds(TOMBSTONE_SECONDS) });
    this.saveSoon(entry);
  }

  /** Nothing makes it any more: what only that needs goes. */
  dropPayload({ record: { id } }: Entry): void {
    this.store
      .deletePayload(id)
      .catch((error) => this.log.warn({ sandbox: id, err: errorText(error) }, "a payload stays"));
  }

  /** msb has nothing of it any more. */
  end(entry: Entry): void {
    const { answered, keepUntil, stoppedAt } = entry.record;
    if (isPast(keepUntil)) this.forget(entry);
    // A process that the last server left behind may still be making it.
    else if (!answered) this.retries.later(entry, INTERRUPTED_LOOK_MS);
    else {
      const now = new Date().toISOString();
      this.change(entry, { state: "gone", desired: "stopped", stoppedAt: stoppedAt ?? now });
      this.saveSoon(entry);
    }
  }

  forget(entry: Entry): void {
    const { id, handle } = entry.record;
    if (entry.ended) return;
    this.letGo.set(handle, performance.now());
    this.index.delete(entry);
    if (isUp(entry.record.state)) this.onRunning(entry, false);
    entry.notify();
    this.store
      .delete(id)
      .catch((error) =>
        this.log.warn({ sandbox: id, err: errorText(error) }, "a record stays until the next start"),
      );
  }

  change(entry: Entry, change: Partial<SandboxRecord>): void {
    const { state, handle } = entry.record;
    const changed = { ...entry.record, ...change };
    // Answers that were made of a record serve as long as it is there.
    if (isDeepStrictEqual(changed, entry.record)) return;
    entry.record = changed;
    if (entry.record.handle !== handle) this.index.renamed(entry, handle);
    this.index.count(entry);
    const runs = isUp(entry.record.state);
    if (runs !== isUp(state)) this.onRunning(entry, runs);
    if (state !== "paused" && entry.record.state === "paused") this.onPaused(entry);
    entry.notify();
  }

  private async save(entry: Entry): Promise<void> {
    if (entry.ended) return;
    entry.unsaved = true;
    await this.store.put(entry.record);
    entry.unsaved = false;
  }

  /** For what has happened whether the disk takes it or not: tried again until it does. Never rejects. */
  private async saveOrRetry(entry: Entry): Promise<void> {
    const known = entry.unsaved;
    try {
      await this.save(entry);
    } catch (error) {
      // An earlier write may have ended well meanwhile.
      entry.unsaved = true;
      if (!known)
        this.log.error({ sandbox: entry.record.id, err: errorText(error) }, "a record could not be written");
      this.retries.soon(entry);
    }
  }

  saveSoon(entry: Entry): void {
    void this.saveOrRetry(entry);
  }
}
