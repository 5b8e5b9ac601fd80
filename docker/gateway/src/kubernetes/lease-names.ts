import { randomUUID } from "node:crypto";
import { setMaxListeners } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { type Hold, isKept, type Names } from "../backends/servers/names";
import { errorText, ServiceError } from "../errors";
import { withFirstSignal } from "../first-signal";
import { ApiError, type KubernetesApi, type Log } from "./api";
import { Backlog } from "./backlog";
import { LeaseStore } from "./lease-store";

export type LeaseNamesOptions = {
  api: KubernetesApi;
  namespace: string;
  /** Whose names they are: routers with the same one share them. A label's value. */
  group: string;
  log: Log;
  /** Milliseconds for which the API is asked until a request is refused. Default: 5,000. */
  waitMs?: number;
  /** Milliseconds after which the API has given up every request. Default: 65,000. */
  lateMs?: number;
};

type Outcome = { taken: Hold } | { held: Hold };

const WAIT_MS = 5_000;
const LATE_MS = 65_000;
/** Milliseconds before something is repeated, at first and at most. */
const [FIRST_PAUSE_MS, MOST_PAUSE_MS] = [30, 500];
/** Milliseconds between two sweeps, about. */
const SWEEP_MS = 60_000;
/** Statuses with which the API says that it may answer later. */
const PASSING = new Set([408, 425, 429, 500, 502, 503, 504]);

/** Somebody else was faster: it is looked at again. */
class Overtaken extends Error {}

/**
 * Names that any number of routers share: each hold is a Lease. The API creates an object once, and changes or deletes it
 * only as it was seen, so that of all who ask at once one gets a name. A request whose outcome is unknown is repeated until
 * that is known: each attempt bears a mark of its own.
 */
export class LeaseNames implements Names {
  private readonly store: LeaseStore;
  private readonly backlog = new Backlog();
  private readonly closing = new AbortController();
  private failing = false;

  constructor(private readonly options: LeaseNamesOptions) {
    // All that is under way listens to it.
    setMaxListeners(0, this.closing.signal);
    this.store = new LeaseStore(options.api, options.namespace, options.group);
  }

  async take(name: string, instead?: Hold): Promise<Outcome> {
    const attempt = randomUUID();
    let tries = 0;
    try {
      const outcome = await this.persist((signal) => {
        tries += 1;
        return this.tryToTake(name, attempt, instead, signal);
      });
      if (tries > 1) this.undoLater(name, attempt, "taken" in outcome ? outcome.taken : undefined);
      return outcome;
    } catch (error) {
      this.undo(name, attempt);
      this.undoLater(name, attempt);
      throw error;
    }
  }

  settle(name: string, hold: Hold, id: string | null): Promise<void> {
    const state = id === null ? "lost" : "made";
    const written = { state, id, since: this.store.now(), attempt: randomUUID() } as const;
    return this.finish(name, hold, (signal) => this.store.replace(name, hold, written, signal));
  }

  release = (name: string, hold: Hold): Promise<void> =>
    this.finish(name, hold, (signal) => this.store.delete(name, hold, signal));

  /** Nobody waits for it: while the hold is there, servers are asked for what it tells of. */
  async forget(name: string, id: string): Promise<void> {
    this.backlog.add(`${name} ${id}`, () => this.deleteIf(name, (hold) => hold.id === id));
  }

  /** Resolves when nothing is left to be done that nobody waits for. */
  settled = (): Promise<void> => this.backlog.done();

  /** Deletes holds that count no more, of all routers. @throws Error where the API does not answer */
  sweep = (): Promise<void> => this.store.deleteAll((hold) => !isKept(hold));

  /** Sweeps about once a minute until it is closed. Never rejects. */
  async keepSweeping(): Promise<void> {
    const { signal } = this.closing;
    while (!signal.aborted) {
      const pause = SWEEP_MS * (0.5 + Math.random());
      await sleep(pause, undefined, { signal, ref: false }).catch(() => undefined);
      // Where one fails the next one comes.
      if (!signal.aborted) await this.sweep().catch(() => undefined);
    }
  }

  async close(): Promise<void> {
    this.closing.abort();
    await this.backlog.close();
  }

  /** May be repeated: what an earlier try has written is found by its mark. */
  private async tryToTake(
    name: string,
    attempt: string,
    instead: Hold | undefined,
    signal: AbortSignal,
  ): Promise<Outcome> {
    const { store } = this;
    const making = { state: "making", id: null, since: store.now(), attempt } as const;
    const replaced = instead && (await store.replace(name, instead, making, signal));
    const taken = replaced ?? (await store.create(name, making, signal));
    if (taken) return { taken };
    const found = await store.read(name, signal);
    if (!found) throw new Overtaken();
    const { hold } = found;
    if (found.attempt === attempt) return { taken: hold };
    if (isKept(hold) && hold.revision !== instead?.revision) return { held: hold };
    const takenOver = await store.replace(name, hold, making, signal);
    if (!takenOver) throw new Overtaken();
    return { taken: takenOver };
  }

  /** What was not answered may have been done. @param but the hold that the attempt is known for */
  private undo(name: string, attempt: string, but?: Hold): void {
    const isIt = (hold: Hold, mark: string | undefined) =>
      mark === attempt && hold.revision !== but?.revision;
    this.backlog.add(attempt, () => this.deleteIf(name, isIt));
  }

  /** It may still be done, by an API that has not given it up. */
  private undoLater(name: string, attempt: string, but?: Hold): void {
    setTimeout(() => this.undo(name, attempt, but), this.options.lateMs ?? LATE_MS).unref();
  }

  /** Ends a hold, later where it can't be now. @throws ServiceError unavailable */
  private async finish(
    name: string,
    { revision }: Hold,
    work: (signal?: AbortSignal) => Promise<unknown>,
  ): Promise<void> {
    try {
      await this.persist(work);
    } catch (error) {
      this.backlog.add(`${name} ${revision}`, work);
      throw error;
    }
  }

  private async deleteIf(name: string, isIt: (hold: Hold, mark: string | undefined) => boolean) {
    const found = await this.store.read(name);
    if (found && isIt(found.hold, found.attempt)) await this.store.delete(name, found.hold);
  }

  /** Repeats what may be repeated until the API has answered it. @throws ServiceError unavailable */
  private persist<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const attempts = async (signal: AbortSignal): Promise<T> => {
      for (let pause = FIRST_PAUSE_MS; ; pause = Math.min(2 * pause, MOST_PAUSE_MS)) {
        try {
          const result = await work(signal);
          if (this.failing) this.options.log.info("names can be held again");
          this.failing = false;
          return result;
        } catch (error) {
          if (!signal.aborted && isPassing(error))
            await sleep(pause * (0.5 + Math.random() / 2), undefined, { signal }).catch(() => undefined);
          if (signal.aborted || !isPassing(error)) throw this.unavailable(error);
        }
      }
    };
    return withFirstSignal([this.closing.signal], attempts, this.options.waitMs ?? WAIT_MS);
  }

  private unavailable(cause: unknown): ServiceError {
    if (!this.failing)
      this.options.log.warn({ err: errorText(cause) }, "names can't be held: nothing new is made meanwhile");
    this.failing = true;
    const why = isPassing(cause) ? "does not answer" : "refuses it";
    return new ServiceError(
      "unavailable",
      `nothing can be made under a new name now: the Kubernetes API ${why}; what is there goes on, try again in a moment`,
      { retryAfterSeconds: 5, cause },
    );
  }
}

const isPassing = (error: unknown): boolean => !(error instanceof ApiError) || PASSING.has(error.status);
