import { errorText } from "../../errors";
import { LineBudget } from "../../limits/line-budget";
import type { Owner } from "../../sandboxes/backend";
import { FAILURES, type LifecycleLog } from "./lifecycle";
import { backoffMs } from "./retries";

type Failing = { id: string; owner: Owner };

/** Cleanups of volumes that failed: they are tried again for ever, less and less often, and are told in a budget of lines. */
export class CleanupFailures {
  /** With the time of the next try by performance.now(). */
  private readonly failed = new Map<string, { times: number; retryAt: number }>();
  private readonly lines: LineBudget;

  constructor(private readonly log: LifecycleLog) {
    this.lines = new LineBudget(log, { rate: FAILURES, what: "cleanups of volumes that failed" });
  }

  /** Whether it may be tried now. */
  isDue = (id: string): boolean => performance.now() >= (this.failed.get(id)?.retryAt ?? 0);

  note(volume: Failing, error: unknown): void {
    const times = (this.failed.get(volume.id)?.times ?? 0) + 1;
    this.failed.set(volume.id, { times, retryAt: performance.now() + backoffMs(times) });
    this.tell(volume, error);
  }

  over = (id: string): void => void this.failed.delete(id);

  tell({ id, owner }: Failing, error: unknown): void {
    if (!this.lines.take(owner ?? "")) return;
    this.log.warn({ volume: id, err: errorText(error) }, "volume cleanup failed; it is retried");
  }

  close(): void {
    this.lines.close();
  }
}
