/**
 * Does work with a signal that aborts with the first of those given, for its reason, or when the time is over.
 *
 * AbortSignal.any() holds what it is made of weakly: a timeout, or a controller that only some callback holds, may be
 * collected, and then nothing ever aborts (nodejs/node issues 57736 and 65995; seen with Node 20).
 * @param timeoutMs default: no end
 * @param late the reason when the time is over
 */
export async function withFirstSignal<T>(
  signals: (AbortSignal | undefined)[],
  work: (signal: AbortSignal) => Promise<T>,
  timeoutMs?: number,
  late: () => Error = () => new DOMException("the time is over", "TimeoutError"),
): Promise<T> {
  const first = new AbortController();
  const undo: (() => void)[] = [];
  for (const signal of signals) {
    if (!signal) continue;
    const abort = () => first.abort(signal.reason);
    if (signal.aborted) abort();
    signal.addEventListener("abort", abort, { once: true });
    undo.push(() => signal.removeEventListener("abort", abort));
  }
  if (timeoutMs !== undefined) {
    const timer = setTimeout(() => first.abort(late()), Math.min(Math.max(0, timeoutMs), 2 ** 31 - 1));
    undo.push(() => clearTimeout(timer));
  }
  try {
    return await work(first.signal);
  } finally {
    for (const each of undo) each();
  }
}
