/** Tells whoever watches that something has changed. */
export class ChangeWatch {
  private readonly listeners = new Set<() => void>();
  private closed = false;

  tell(): void {
    for (const listener of this.listeners) listener();
  }

  /** Ends what is watched. */
  close(): void {
    this.closed = true;
    this.tell();
  }

  /** Once at the beginning, and once for all that has changed since it was read last. Ends when the signal aborts, too. */
  async *watch(signal: AbortSignal): AsyncGenerator<"changed"> {
    let isTold = false;
    let wake = () => {};
    const onChange = () => {
      isTold = false;
      wake();
    };
    this.listeners.add(onChange);
    signal.addEventListener("abort", onChange);
    try {
      while (!signal.aborted && !this.closed) {
        if (!isTold) {
          isTold = true;
          yield "changed";
        } else
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
      }
    } finally {
      this.listeners.delete(onChange);
      signal.removeEventListener("abort", onChange);
    }
  }
}
