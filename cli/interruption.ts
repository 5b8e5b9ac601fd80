import { UserError } from "../setup/user-error";

/** Ctrl+C, what a service manager sends, and a terminal or an SSH connection that is gone. */
const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

const ignore = () => undefined;

/**
 * Calls `interrupt` at each signal that asks this process to end; it then does not end by itself. Nor does it where nobody
 * reads its output any more.
 *
 * @returns ends that: signals do again what they do by default
 */
export function onInterruption(interrupt: (signal: NodeJS.Signals) => void): () => void {
  for (const stream of [process.stdout, process.stderr]) stream.off("error", ignore).on("error", ignore);
  for (const signal of signals) process.on(signal, interrupt);
  return () => {
    for (const signal of signals) process.off(signal, interrupt);
  };
}

/** Runs work that an interruption aborts after its clean-up. @throws UserError where it was interrupted */
export async function interruptible<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const interruption = new AbortController();
  const end = onInterruption(() => interruption.abort(new UserError("Interrupted.")));
  try {
    return await work(interruption.signal);
  } finally {
    end();
  }
}
