import { errorText, ServiceError } from "../../errors";
import { SharedPlaces } from "../../limits/shared-places";
import { isBefore07 } from "./command-line";
import type { Lifecycle } from "./lifecycle";
import type { Entry, SandboxIndex } from "./sandbox-index";
import { isPausedIdle } from "./sandbox-record";

export type IdlePausesOptions = {
  /** Seconds without use after which a sandbox is paused; 0 for never. */
  seconds: number;
  index: Pick<SandboxIndex, "all">;
  lifecycle: Pick<Lifecycle, "update" | "want" | "log">;
  msbVersion: () => Promise<string>;
};

/** Pauses at once, half of them for one owner: fewer than msb's turns, so that a resume never waits for a pause's. */
const PAUSES_AT_ONCE = 8;

/** Times are of performance.now(). */
type Use = {
  /** Uses that are not over. */
  open: number;
  lastAt: number;
  /** It was seen not to run since: when it runs again, whoever started or resumed it uses it. */
  hasRested: boolean;
};

/**
 * Pauses sandboxes that nobody uses, and resumes them for the next who does, unseen by clients. A use is a connection to the
 * agent (commands, files, terminals), a log that is followed, a change, a capture, and a start or resume, by msb itself, too.
 * What was made with msb itself is left alone: its users go past the server.
 */
export class IdlePauses {
  private readonly uses = new WeakMap<Entry, Use>();
  private readonly places = new SharedPlaces(PAUSES_AT_ONCE, "pauses");
  /** Those whose pause waits for a place, or is under way. */
  private readonly pausing = new Set<Entry>();
  private ended = false;

  constructor(private readonly options: IdlePausesOptions) {}

  /** Begins a use, but resumes nothing. @returns ends it */
  begin(entry: Entry): () => void {
    const use = this.of(entry);
    use.open += 1;
    let open = true;
    return () => {
      if (open) use.open -= 1;
      open = false;
      touch(use);
    };
  }

  /** Works with a sandbox, which is resumed for it. @throws ServiceError as {@link awake} */
  async whileUsed<T>(entry: Entry, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    const end = this.begin(entry);
    try {
      await this.awake(entry, signal);
      return await work();
    } finally {
      end();
    }
  }

  /**
   * Resumes one that is paused for want of use. To be called within a use.
   * @throws ServiceError conflict where that fails, timeout where the signal aborts before, or its reason if that is one
   */
  async awake(entry: Entry, signal: AbortSignal): Promise<void> {
    if (!entry.record.idle) return;
    // It may be on its way there, or back for somebody else.
    await settled(entry, signal);
    if (!isPausedIdle(entry.record)) return;
    await this.options.lifecycle.want(entry, "running");
    await settled(entry, signal);
    const { name, failure } = entry.record;
    if (isPausedIdle(entry.record))
      throw new ServiceError(
        "conflict",
        `the sandbox ${JSON.stringify(name)} was paused for want of use, and can't be resumed: ${failure?.message}`,
      );
  }

  /**
   * Pauses what was not used for long enough, and stops what has been paused for its own idle timeout; resolves when that
   * is through. Never rejects.
   */
  async sweep(): Promise<void> {
    const { seconds, index, lifecycle, msbVersion } = this.options;
    if (seconds === 0) return;
    try {
      if (isBefore07(await msbVersion())) return;
      const entries = [...index.all()].filter((entry) => !this.pausing.has(entry));
      for (const entry of entries) this.look(entry);
      const over = entries.filter((entry) => this.isOver(entry));
      const idle = entries.filter((entry) => this.isIdle(entry));
      await Promise.all([
        ...over.map((entry) => lifecycle.want(entry, "stopped")),
        ...idle.map((entry) => this.pauseInTurn(entry)),
      ]);
    } catch (error) {
      lifecycle.log.warn({ err: errorText(error) }, "idle sandboxes were not paused");
    }
  }

  /** The server is being stopped: no more pauses begin. */
  end(): void {
    this.ended = true;
  }

  private async pauseInTurn(entry: Entry): Promise<void> {
    this.pausing.add(entry);
    try {
      await this.places.run(entry.record.owner ?? "", undefined, () => this.pause(entry));
    } finally {
      this.pausing.delete(entry);
    }
  }

  /** Pauses one that is idle still. One that can't be paused is tried again when it has been idle for as long once more. */
  private async pause(entry: Entry): Promise<void> {
    const { lifecycle } = this.options;
    if (!this.isIdle(entry)) return;
    this.of(entry).hasRested = true;
    // A pause that a crash interrupts is still this server's, not a client's.
    await lifecycle.update(entry, { idle: true });
    if (!this.isIdle(entry)) return;
    await lifecycle.want(entry, "paused");
    if (!entry.settled) await entry.until((each) => each.settled, new AbortController().signal);
    // Nobody asked for it: it is no reason for what becomes of the sandbox later.
    if (runs(entry) && entry.record.failure) await lifecycle.update(entry, { failure: null });
  }

  /** Uses that are open stay so. */
  private look(entry: Entry): void {
    const isRunning = entry.record.state === "running";
    const use = isRunning ? this.of(entry) : this.uses.get(entry);
    if (use && !isRunning) use.hasRested = true;
    else if (use?.hasRested) touch(use);
  }

  private isIdle(entry: Entry): boolean {
    if (this.ended || entry.record.spec === null || !runs(entry)) return false;
    return this.isUnused(entry, this.options.seconds);
  }

  /** Whether its own idle timeout is over, which msb can't keep while the guest's clock stands still. */
  private isOver(entry: Entry): boolean {
    const seconds = entry.record.spec?.idleTimeoutSeconds ?? 0;
    if (this.ended || seconds === 0 || !isPausedIdle(entry.record)) return false;
    return this.isUnused(entry, seconds);
  }

  private isUnused(entry: Entry, seconds: number): boolean {
    const { open, lastAt } = this.of(entry);
    return open === 0 && performance.now() - lastAt >= seconds * 1000;
  }

  /** Its use; one that is seen for the first time was used just now. */
  private of(entry: Entry): Use {
    const known = this.uses.get(entry);
    if (known) return known;
    const use = { open: 0, lastAt: performance.now(), hasRested: false };
    this.uses.set(entry, use);
    return use;
  }
}

function touch(use: Use): void {
  use.lastAt = performance.now();
  use.hasRested = false;
}

const runs = ({ underWay, ended, record: { state, desired } }: Entry): boolean =>
  !underWay && !ended && state === "running" && desired === "running";

async function settled(entry: Entry, signal: AbortSignal): Promise<void> {
  if (!entry.settled) await entry.until((each) => each.settled, signal);
  if (!signal.aborted) return;
  if (signal.reason instanceof ServiceError) throw signal.reason;
  const { name } = entry.record;
  throw new ServiceError("timeout", `the sandbox ${JSON.stringify(name)} was not resumed in time`);
}
