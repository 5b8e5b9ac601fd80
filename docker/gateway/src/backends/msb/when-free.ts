import { ServiceError } from "../../errors";
import { withFirstSignal } from "../../first-signal";
import type { Lifecycle } from "./lifecycle";
import type { Entry } from "./sandbox-index";

/** How long work with a sandbox waits for what is under way with it. */
const BUSY_WAIT_MS = 60_000;

/**
 * Works with a sandbox when nothing else does.
 * @param check throws where that can't be done by then
 * @throws ServiceError conflict where something else is under way with it for too long; the signal's reason
 */
export async function whenFree<T>(
  lifecycle: Pick<Lifecycle, "hold">,
  entry: Entry,
  { signal, check }: { signal: AbortSignal; check: (entry: Entry) => void },
  work: () => Promise<T>,
): Promise<T> {
  const free = (over: AbortSignal) => entry.until(({ underWay }) => !underWay, over);
  const deadline = performance.now() + BUSY_WAIT_MS;
  // By the time that the wait is over, something else may have begun.
  for (let left = BUSY_WAIT_MS; entry.underWay && left > 0; left = deadline - performance.now()) {
    await withFirstSignal([signal], free, left);
    signal.throwIfAborted();
  }
  signal.throwIfAborted();
  // No await between this and the hold.
  if (entry.underWay) throw new ServiceError("conflict", "the sandbox is starting or stopping; try again");
  check(entry);
  return lifecycle.hold(entry, work);
}
