import { setMaxListeners } from "node:events";
import { withFirstSignal } from "../../first-signal";
import type { Sandbox, SandboxBackend } from "../../sandboxes/backend";

/** Milliseconds that a boot, or a removal, is watched for its end, and that an end is remembered. */
const WATCHED_MS = 10 * 60_000;
const KEPT_MS = 60_000;
/** Ends that are remembered at once; the oldest is forgotten. */
const MOST_KEPT = 256;

/**
 * The last states of sandboxes that have just ended. A question takes its time over a network: whoever asks after a
 * create or a removal what has become of the sandbox is to hear it, though nothing is left of that.
 */
export class Endings {
  private readonly last = new Map<string, Sandbox>();
  private readonly closing = new AbortController();

  constructor(private readonly sandboxes: SandboxBackend) {
    // One for each that is watched.
    setMaxListeners(0, this.closing.signal);
  }

  /** The last state of one that is no more. */
  of = (id: string): Sandbox | undefined => this.last.get(id);

  /** From now on its end is remembered, until that holds of it. */
  watch(id: string, isOver: (sandbox: Sandbox) => boolean): void {
    const until = (signal: AbortSignal) =>
      this.sandboxes.until(id, (sandbox) => sandbox.ended || isOver(sandbox), signal);
    withFirstSignal([this.closing.signal], until, WATCHED_MS)
      .then((sandbox) => sandbox.ended && this.keep(sandbox))
      // There is nothing to be remembered of what was never there.
      .catch(() => undefined);
  }

  private keep(sandbox: Sandbox): void {
    const { id } = sandbox;
    this.last.set(id, sandbox);
    const [oldest] = this.last.keys();
    if (oldest !== undefined && this.last.size > MOST_KEPT) this.last.delete(oldest);
    setTimeout(() => this.last.delete(id), KEPT_MS).unref();
  }

  close = (): void => this.closing.abort();
}

/** Of one that was just made: its end is of interest while nobody knows what has become of its boot. */
export const isMade = ({ settled, failure }: Sandbox): boolean => settled && !failure;
