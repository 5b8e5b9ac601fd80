import { type Observed, STATES } from "../../sandboxes/states";
import { inSeconds, isPast, type Lifecycle, TOMBSTONE_SECONDS } from "./lifecycle";
import { Entry } from "./sandbox-index";
import { adoptedRecord, type SandboxRecord } from "./sandbox-record";

/** A sandbox as msb lists it. */
export type Seen = { name: string; observed: Exclude<Observed, "missing">; createdAt: string };

/** How long something may still come of a create that the end of the server cut off. */
const CUT_OFF_SECONDS = 300;

/** What moves sandboxes without a request: msb's own view of them, the start of the server, and time. */
export class Reconciler {
  /** Until msb's first list after the start. */
  private recovering = true;

  constructor(private readonly lifecycle: Lifecycle) {}

  /** Brings the records in line with what msb listed, as asked at a time of performance.now(). */
  observe(rows: Iterable<Seen>, askedAt: number): void {
    const seen = new Map<string, Observed>();
    for (const row of rows) {
      seen.set(row.name, row.observed);
      const letGo = (this.lifecycle.letGo.get(row.name) ?? Number.NEGATIVE_INFINITY) >= askedAt;
      if (!letGo && !this.lifecycle.index.withHandle(row.name)) this.adopt(row);
    }
    for (const entry of [...this.lifecycle.index.all()]) {
      if (entry.underWay || entry.changedAt >= askedAt) continue;
      const { state, handle, desired, ephemeral, keepUntil } = entry.record;
      const next = STATES[state].observed?.[seen.get(handle) ?? "missing"];
      if (!next) continue;
      entry.changedAt = performance.now();
      if (state === "unmade") this.lifecycle.dropPayload(entry);
      if (next.state === "end") {
        if (ephemeral && desired !== "removed" && keepUntil === null)
          this.lifecycle.change(entry, { keepUntil: inSeconds(TOMBSTONE_SECONDS) });
        this.lifecycle.end(entry);
      } else {
        const change = { desired: desired === "removed" ? desired : (next.desired ?? desired) };
        this.lifecycle.enter(
          entry,
          next.state,
          next.state === "running" ? change : { ...change, ...this.over() },
        );
      }
      this.lifecycle.drive(entry);
    }
    for (const [handle, at] of this.lifecycle.letGo) if (at < askedAt) this.lifecycle.letGo.delete(handle);
    this.recovering = false;
  }

  /** Settles what the last process left in the middle; before msb's view of it is taken in, and before any request. */
  recover(): void {
    for (const entry of this.lifecycle.index.all()) {
      const { id, state, desired, answered } = entry.record;
      const cutOff = state === "making" || (state === "created" && desired === "running");
      const to = cutOff ? "unmade" : (STATES[state].restarted ?? state);
      if (!cutOff) {
        const now = desired === "removed" ? desired : to === "running" ? "running" : "stopped";
        this.lifecycle.change(entry, { state: to, desired: now });
        continue;
      }
      this.lifecycle.log.warn({ sandbox: id, answered }, "a create was cut off");
      const message = "the server ended while the sandbox was being made";
      if (answered)
        this.lifecycle.change(entry, {
          state: to,
          desired: "stopped",
          failure: { kind: "runtimeFailed", message },
        });
      else {
        const keepUntil = inSeconds(CUT_OFF_SECONDS);
        this.lifecycle.change(entry, { state: to, desired: "removed", keepUntil });
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
      else if (state === "running" && desired === "running" && expiresAt !== null && isPast(expiresAt, now)) {
        this.lifecycle.log.info({ sandbox: id }, "its maximum duration is over");
        this.lifecycle.change(entry, { desired: "stopped" });
      } else if (ephemeral && (state === "stopped" || state === "failed") && desired !== "removed")
        this.lifecycle.enter(entry, state);
      this.lifecycle.drive(entry);
    }
  }

  /** The life time of one that ended is over; unless the server's own stop has ended it, to go on with it. */
  private over = (): Partial<SandboxRecord> => (this.recovering ? {} : { expiresAt: null });

  private adopt({ name, createdAt }: Seen): void {
    const taken = this.lifecycle.index.holder(name, {}) !== undefined;
    const record = adoptedRecord(name, taken ? `${name.slice(0, 100)}.${Date.now()}` : name, createdAt);
    const entry = new Entry(record);
    this.lifecycle.index.add(entry);
    this.lifecycle.log.info(
      { sandbox: record.id, handle: name },
      "took in a sandbox that was made with msb itself",
    );
    this.lifecycle.saveSoon(entry);
  }
}
