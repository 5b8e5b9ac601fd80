import { setTimeout as sleep } from "node:timers/promises";
import { within } from "../within";

/** Tasks at once. */
const AT_ONCE = 8;
/** Tasks that wait; the oldest are given up for more. */
const MOST = 1_000;
/** Milliseconds after which a task is given up. */
const KEPT_MS = 15 * 60_000;
/** Milliseconds before the next attempt at those that have failed. */
const PAUSE_MS = 1_000;
/** Milliseconds for what is left when it is closed. */
const CLOSE_MS = 2_000;

type Task = { work: () => Promise<unknown>; givenUpAt: number };

/** What nobody waits for: done at once where that can be, else tried again each second for a quarter of an hour. */
export class Backlog {
  private readonly tasks = new Map<string, Task>();
  private readonly closing = new AbortController();
  private running: Promise<void> | undefined;

  /** @param key a task with the same one is not done any more */
  add(key: string, work: () => Promise<unknown>): void {
    if (this.closing.signal.aborted) return;
    const [oldest] = this.tasks.keys();
    if (this.tasks.size >= MOST && oldest !== undefined) this.tasks.delete(oldest);
    this.tasks.set(key, { work, givenUpAt: performance.now() + KEPT_MS });
    this.running ??= this.run();
  }

  /** Resolves when nothing is left to do. */
  done = async (): Promise<void> => this.running;

  /** Waits a moment for what is under way. */
  async close(): Promise<void> {
    this.closing.abort();
    await within(this.done(), CLOSE_MS);
  }

  private async run(): Promise<void> {
    const { signal } = this.closing;
    while (this.tasks.size > 0) {
      const some = [...this.tasks].slice(0, AT_ONCE);
      const outcomes = await Promise.allSettled(some.map(([, { work }]) => work()));
      for (const [at, [key, task]] of some.entries()) {
        if (this.tasks.get(key) !== task) continue;
        this.tasks.delete(key);
        const isOver = outcomes[at]?.status === "fulfilled" || performance.now() > task.givenUpAt;
        // Behind the others, which are not to wait for it.
        if (!isOver && !signal.aborted) this.tasks.set(key, task);
      }
      const hasFailed = outcomes.some(({ status }) => status === "rejected");
      if (hasFailed) await sleep(PAUSE_MS, undefined, { signal, ref: false }).catch(() => undefined);
    }
    this.running = undefined;
  }
}
