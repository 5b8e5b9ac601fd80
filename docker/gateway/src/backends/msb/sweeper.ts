import type { MsbSandboxes } from "./sandbox-commands";
import type { SandboxRecord } from "./sandbox-record";
import type { SandboxRegistry } from "./sandbox-registry";
import type { Sandboxes } from "./sandboxes";

/** How long something may still come of a create that a crash cut off. */
const ABANDONED_SECONDS = 300;

export type SweeperLog = Record<"info" | "warn", (fields: object, message: string) => void>;

/**
 * One periodic sweep, and the recovery at the start: expiries, ephemeral sandboxes that ended,
 * removals and creates that a crash cut off, tombstones. What it works from is on disk, so it
 * survives a restart; there is no timer per sandbox.
 */
export class Sweeper {
  private timer: NodeJS.Timeout | undefined;
  private sweeping = false;

  constructor(
    private readonly sandboxes: Sandboxes,
    private readonly registry: SandboxRegistry,
    private readonly msb: MsbSandboxes,
    private readonly log: SweeperLog,
  ) {}

  /** Settles, before the first request, what the last process left unfinished. */
  async recover(): Promise<void> {
    const unfinished = [...this.registry.store.all()].filter((record) => record.phase === "creating");
    if (unfinished.length > 0) await this.registry.view.get(0);
    for (const record of unfinished) {
      const made = this.registry.view.last().has(record.name);
      this.log.warn({ sandbox: record.id, answered: record.answered, made }, "a create was cut off");
      await this.registry.save(recovered(record, made));
    }
  }

  /** Sweeps now, for what the last process left, and from then on at every interval. */
  start(intervalMs: number): void {
    const sweep = () => this.sweep().catch((error) => this.complain(error));
    this.timer = setInterval(sweep, intervalMs);
    this.timer.unref();
    sweep();
  }

  stop(): void {
    clearInterval(this.timer);
  }

  async sweep(now = Date.now()): Promise<void> {
    const inNeed = [...this.registry.store.all()].filter(needsCare);
    if (this.sweeping || inNeed.length === 0) return;
    this.sweeping = true;
    try {
      // Tombstones only have to become old: msb, whose list takes CPU from guests, has no word in that.
      if (inNeed.some(({ phase }) => phase !== "gone")) await this.registry.reconcile();
      const due = [...this.registry.store.all()].filter((record) => !this.registry.isBusy(record.id));
      const works = due.map((record) => this.care(record, now).catch((error) => this.complain(error)));
      await Promise.all(works);
    } finally {
      this.sweeping = false;
    }
  }

  private async care(record: SandboxRecord, now: number): Promise<void> {
    const over = record.keepUntil !== null && record.keepUntil <= now;
    switch (record.phase) {
      case "gone":
        if (over) await this.registry.drop(record);
        return;
      case "removing":
        return this.sandboxes.remove(record);
      case "abandoned":
        if (this.registry.view.last().has(record.name)) {
          await this.msb.remove(record.name);
          this.registry.view.forget(record.name);
        }
        if (over) await this.registry.drop(record);
        return;
      case "known":
        if (this.registry.alive(record) && record.expiresAt !== null && record.expiresAt <= now) {
          this.log.info({ sandbox: record.id }, "its maximum duration is over");
          await this.sandboxes.stop(record);
        } else if (record.ephemeral && !this.registry.alive(record)) {
          await this.sandboxes.finishEphemeral(record.id);
        }
    }
  }

  private complain(error: unknown): void {
    this.log.warn({ err: String(error) }, "the sweep failed; it is tried again");
  }
}

function needsCare(record: SandboxRecord): boolean {
  return record.phase !== "known"
    ? record.phase !== "pending" && record.phase !== "creating"
    : record.ephemeral || record.expiresAt !== null;
}

function recovered(record: SandboxRecord, made: boolean): SandboxRecord {
  if (!record.answered)
    return { ...record, phase: "abandoned", keepUntil: Date.now() + ABANDONED_SECONDS * 1000 };
  if (made) return { ...record, phase: "known", startedAt: record.startedAt ?? new Date().toISOString() };
  return { ...record, phase: "pending", lastFailure: "the server ended while the sandbox was being made" };
}
