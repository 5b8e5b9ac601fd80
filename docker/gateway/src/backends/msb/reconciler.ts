import { type Desired, desiredThen, isUp, type Observed, STATES } from "../../sandboxes/states";
import type { Lifecycle } from "./lifecycle";
import type { SandboxFolders } from "./sandbox-folders";
import { Entry } from "./sandbox-index";
import { adoptedRecord, type SandboxRecord } from "./sandbox-record";
import { inSeconds, isPast, TOMBSTONE_SECONDS } from "./times";
import { isWarm } from "./warm-handle";

/** A sandbox as msb lists it. */
export type Seen = { name: string; observed: Exclude<Observed, "missing">; createdAt: string };

/** How long something may still come of a create that the end of the server interrupted. */
const INTERRUPTED_SECONDS = 300;

/** What moves sandboxes without a request: msb's own view of them, the start of the server, and time. */
export class Reconciler {
  private recovering = true;
  /** Sandboxes that msb's last list lacked although their folders are there. */
  private unlisted = new Set<Entry>();

  constructor(
    private readonly lifecycle: Lifecycle,
    private readonly folders: Pick<SandboxFolders, "has">,
    private readonly warm: { seen: (row: Seen) => void },
    private readonly newId: () => string,
  ) {}

  /** Until msb's first list after the start. */
  get isRecovering(): boolean {
    return this.recovering;
  }

  /**
   * Why msb's list is not to be trusted, where it lacks sandboxes whose folders are there: msb has lost its database, or
   * was given another one. msb removes a sandbox's folder with its note.
   */
  get distrust(): string | undefined {
    const { size } = this.unlisted;
    if (size === 0) return undefined;
    return (
      `msb does not list ${size} of the sandboxes whose disks are there: its database is lost, or another one; ` +
      "their records and disks stay"
    );
  }

  /** Brings the records in line with what msb listed, as asked at a time of performance.now(). */
  observe(rows: Iterable<Seen>, askedAt: number): void {
    const seen = new Map<string, Observed>();
    for (const row of rows) {
      seen.set(row.name, row.observed);
      const letGo = (this.lifecycle.letGo.get(row.name) ?? Number.NEGATIVE_INFINITY) >= askedAt;
      if (letGo || this.lifecycle.index.withHandle(row.name)) continue;
      if (isWarm(row.name)) this.warm.seen(row);
      else this.adopt(row);
    }
    const unlisted = new Set<Entry>();
    for (const entry of [...this.lifecycle.index.all()]) {
      if (entry.underWay || entry.changedAt >= askedAt) {
        // This list says nothing of it.
        if (this.unlisted.has(entry)) unlisted.add(entry);
        continue;
      }
      const { state, handle, desired, ephemeral, keepUntil } = entry.record;
      const next = STATES[state].observed?.[seen.get(handle) ?? "missing"];
      if (!next) continue;
      // A list alone ends no record: with the record goes the disk.
      if (next.state === "end" && this.folders.has(handle)) {
        unlisted.add(entry);
        continue;
      }
      entry.changedAt = performance.now();
      if (state === "unmade") this.lifecycle.dropPayload(entry);
      if (next.state === "end") {
        if (ephemeral && desired !== "removed" && keepUntil === null)
          this.lifecycle.change(entry, { keepUntil: inSeconds(TOMBSTONE_SECONDS) });
        this.lifecycle.end(entry);
      } else {
        // One that is to run again after a restart of the server was ended by that, and by nothing else.
        const change = { desired: entry.deferred ? desired : desiredThen(desired, next) };
        const goesOn = isUp(next.state) || entry.deferred;
        this.lifecycle.enter(entry, next.state, goesOn ? change : { ...change, ...this.over() });
      }
      this.lifecycle.drive(entry);
    }
    for (const [handle, at] of this.lifecycle.letGo) if (at < askedAt) this.lifecycle.letGo.delete(handle);
    this.note(unlisted);
    this.recovering = false;
  }

  /** Settles what the last process left in the middle; before msb's view of it is taken in, and before any request. */
  recover(): void {
    for (const entry of this.lifecycle.index.all()) {
      const { id, state, desired, answered } = entry.record;
      const interrupted = state === "making" || (state === "created" && desired === "running");
      const to = interrupted ? "unmade" : (STATES[state].restarted ?? state);
      if (!interrupted) {
        const now = desired === "removed" ? desired : to === "running" || to === "paused" ? to : "stopped";
        this.lifecycle.change(entry, { state: to, desired: now });
        continue;
      }
      this.lifecycle.log.warn({ sandbox: id, answered }, "a create was interrupted");
      const message = "the server ended while the sandbox was being made";
      if (answered && desired !== "removed")
        this.lifecycle.change(entry, {
          state: to,
          desired: "stopped",
          failure: { kind: "runtimeFailed", message },
        });
      else {
        const keepUntil = inSeconds(INTERRUPTED_SECONDS);
        // An answered removal holds: nobody is to be told of it any more.
        this.lifecycle.change(entry, { state: to, desired: "removed", answered: false, keepUntil });
        this.lifecycle.dropPayload(entry);
      }
    }
  }

  /** Stops what has lived long enough, forgets what answered long enough, and goes on with what is to be done. */
  sweep(now = Date.now()): void {
    for (const entry of [...this.lifecycle.index.all()]) {
      const { id, state, expiresAt, keepUntil, ephemeral, desired } = entry.record;
      if (state === "gone" && isPast(keepUntil, now)) this.lifecycle.forget(entry);
      else if (state === "unmade" && ephemeral && desired === "stopped" && isPast(keepUntil, now))
        this.lifecycle.change(entry, { desired: "removed", keepUntil: null });
      else if (isUp(state) && isToLive(desired) && expiresAt !== null && isPast(expiresAt, now)) {
        this.lifecycle.log.info({ sandbox: id }, "its maximum duration is over");
        this.lifecycle.change(entry, { desired: "stopped" });
      } else if (ephemeral && (state === "stopped" || state === "failed") && desired !== "removed")
        this.lifecycle.enter(entry, state);
      this.lifecycle.drive(entry);
    }
  }

  /** The life time of one that ended is over; unless the server's own stop has ended it, to go on with it. */
  private over = (): Partial<SandboxRecord> => (this.recovering ? {} : { expiresAt: null });

  private note(unlisted: Set<Entry>): void {
    const more = [...unlisted].some((entry) => !this.unlisted.has(entry));
    this.unlisted = unlisted;
    if (more) this.lifecycle.log.error({ sandboxes: unlisted.size }, this.distrust ?? "");
  }

  private adopt({ name, createdAt }: Seen): void {
    const taken = this.lifecycle.index.holder(name, {}) !== undefined;
    const record = adoptedRecord(
      this.newId(),
      name,
      taken ? `${name.slice(0, 100)}.${Date.now()}` : name,
      createdAt,
    );
    const entry = new Entry(record);
    this.lifecycle.index.add(entry);
    this.lifecycle.log.info(
      { sandbox: record.id, handle: name },
      "took in a sandbox that was made with msb itself",
    );
    this.lifecycle.saveSoon(entry);
  }
}

const isToLive = (desired: Desired): boolean => desired === "running" || desired === "paused";
