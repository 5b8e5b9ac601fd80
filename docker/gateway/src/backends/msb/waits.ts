/**
 * Those who wait for something to be as they want it. All are looked at in one go, once in a turn of the event loop: what
 * one client changes a hundred times costs others no more than what changes once. A state that lasts for less than a turn
 * may go unseen.
 */
export class Waits<View> {
  private readonly waiting = new Set<Waiting<View>>();
  private isDue = false;

  /** @param view what it is now; made once for all who wait */
  constructor(private readonly view: () => View) {}

  get count(): number {
    return this.waiting.size;
  }

  /** It has changed. */
  wake(): void {
    if (this.isDue || this.waiting.size === 0) return;
    this.isDue = true;
    setImmediate(() => {
      this.isDue = false;
      if (this.waiting.size === 0) return;
      const view = this.view();
      for (const each of [...this.waiting]) if (each.holds(view)) each.end(view);
    });
  }

  /** Resolves after a change with which it holds, or when the signal aborts: with what it is then. */
  until(holds: (view: View) => boolean, signal: AbortSignal): Promise<View> {
    if (signal.aborted) return Promise.resolve(this.view());
    return new Promise((resolve) => {
      const end = (view: View) => {
        this.waiting.delete(waiting);
        signal.removeEventListener("abort", aborted);
        resolve(view);
      };
      const aborted = () => end(this.view());
      const waiting = { holds, end };
      this.waiting.add(waiting);
      signal.addEventListener("abort", aborted, { once: true });
    });
  }
}

type Waiting<View> = { holds: (view: View) => boolean; end: (view: View) => void };
