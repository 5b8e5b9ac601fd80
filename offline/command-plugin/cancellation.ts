import type { EventEmitter } from "node:events";

/** Everything that can stop running commands: the engine, a request's end or deadline, the plugin's own end. */
export class Cancellation {
  private readonly all = new AbortController();

  /** Stops what runs and refuses what would run; each command's error names the reason. */
  cancelAll(reason: string): void {
    this.all.abort(reason);
  }

  /**
   * Runs one request's work under a signal that aborts with the request.
   *
   * @param call emits `cancelled` when the engine drops the request
   * @param timeoutSeconds 0 for none
   */
  async guard<T>(
    call: EventEmitter,
    timeoutSeconds: number,
    work: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const own = new AbortController();
    const dropped = () => own.abort("cancelled");
    call.once("cancelled", dropped);
    const timeout = `timed out after ${timeoutSeconds} s`;
    const timer = timeoutSeconds > 0 && setTimeout(() => own.abort(timeout), timeoutSeconds * 1000);
    try {
      return await work(AbortSignal.any([this.all.signal, own.signal]));
    } finally {
      if (timer) clearTimeout(timer);
      call.off("cancelled", dropped);
    }
  }
}
