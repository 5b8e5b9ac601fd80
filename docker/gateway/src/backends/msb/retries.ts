import type { Entry } from "./sandbox-index";

const FIRST_MS = 1_000;
const MOST_MS = 60_000;

/** Milliseconds before the next try, after so many that failed. */
export const backoffMs = (failures: number): number => Math.min(FIRST_MS * 2 ** (failures - 1), MOST_MS);

/** Comes back to sandboxes with which something did not work, less and less often. One timer serves them all. */
export class Retries {
  private timer: NodeJS.Timeout | undefined;
  private readonly waiting = new Set<Entry>();

  constructor(private readonly again: (entry: Entry) => void) {}

  /** No action before that time; it doubles with each failure unless it is given. */
  later(entry: Entry, ms?: number): void {
    entry.failures++;
    entry.retryAt = performance.now() + (ms ?? backoffMs(entry.failures));
    this.soon(entry);
  }

  soon(entry: Entry): void {
    this.waiting.add(entry);
    this.timer ??= setTimeout(() => this.run(), FIRST_MS).unref();
  }

  close(): void {
    clearTimeout(this.timer);
    this.waiting.clear();
  }

  private run(): void {
    this.timer = undefined;
    const due = [...this.waiting].filter((entry) => !entry.ended);
    this.waiting.clear();
    for (const entry of due) {
      this.again(entry);
      if (performance.now() < entry.retryAt) this.soon(entry);
    }
  }
}
