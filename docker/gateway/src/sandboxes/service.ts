import { ServiceError } from "../errors";
import { withFirstSignal } from "../first-signal";
import { within } from "../within";
import type { Sandbox, SandboxBackend, Wanted } from "./backend";
import type { WantedForks } from "./forks";

/** Clients give up on a plain request after 30 seconds; what takes longer goes on behind the answer. */
const ANSWER_WITHIN_MS = 25_000;

export type CreateOptions = Omit<Wanted, "desired"> & {
  start: boolean;
  /** How long the answer waits for the boot. */
  waitMs: number;
  /** Aborted when the client went away: then nothing of the sandbox may stay. */
  clientGone: AbortSignal;
};

/** How long the answer waits for forks: as long as official clients wait for a create. */
const FORKS_WITHIN_MS = 90_000;

/** Whether it is known what has become of its boot. */
const decided = ({ settled, failure }: Sandbox) => settled || failure !== null;

/** Requests about sandboxes, answered in time: what is desired is said to the backend, and waited for or not. */
export class SandboxService {
  private readonly making = new Set<Promise<unknown>>();

  constructor(
    private readonly backend: SandboxBackend,
    /** Milliseconds after which the answer to a stop or a removal waits no longer. */
    private readonly answerWithinMs = ANSWER_WITHIN_MS,
    /** Milliseconds after which forks that are still on their way are told of. */
    private readonly forksWithinMs = FORKS_WITHIN_MS,
  ) {}

  /** @throws ServiceError the reason, where it is not answered as made: then nothing of it stays */
  create = (options: CreateOptions): Promise<Sandbox> => this.counted(this.createCounted(options));

  private async createCounted({ start, waitMs, clientGone, ...wanted }: CreateOptions): Promise<Sandbox> {
    const made = await this.backend.create({ ...wanted, desired: start ? "running" : "stopped" });
    if (!start) return made;
    const until = (signal: AbortSignal) => this.backend.until(made.id, decided, signal);
    try {
      const sandbox = await withFirstSignal([clientGone], until, waitMs);
      if (sandbox.failure) throw new ServiceError(sandbox.failure.kind, sandbox.failure.message);
      if (sandbox.ended) throw new ServiceError("conflict", "the sandbox was removed before it was ready");
      if (clientGone.aborted)
        throw new ServiceError("conflict", "the client went away before the sandbox was ready");
      // From here on it is its client's own, whatever becomes of it.
      if (!sandbox.settled) await this.backend.answered(sandbox.id);
      return sandbox;
    } catch (error) {
      await this.removeAll([made]);
      throw error;
    }
  }

  /**
   * Forks a sandbox: all that were asked for, or none. What is not ready in time is told as starting, and goes on.
   * @param clientGone aborted when the client went away: then none of them may stay
   * @throws ServiceError the reason, where one of them fails within the time
   */
  fork = (source: Sandbox, wanted: WantedForks, clientGone: AbortSignal): Promise<Sandbox[]> =>
    this.counted(this.forkCounted(source, wanted, clientGone));

  private async forkCounted(
    { id }: Sandbox,
    wanted: WantedForks,
    clientGone: AbortSignal,
  ): Promise<Sandbox[]> {
    const begun = await this.backend.fork(id, wanted);
    const until = (over: AbortSignal) =>
      Promise.allSettled(begun.map((fork) => this.backend.until(fork.id, decided, over)));
    const seen = await withFirstSignal([clientGone], until, this.forksWithinMs);
    const forks = seen.flatMap((each) => (each.status === "fulfilled" ? [each.value] : []));
    const whole = forks.filter(({ failure, ended }) => !failure && !ended);
    if (whole.length < begun.length || clientGone.aborted) {
      await this.removeAll(begun);
      const failure = forks.find((fork) => fork.failure)?.failure;
      if (failure) throw new ServiceError(failure.kind, failure.message);
      const why = clientGone.aborted ? "the client went away" : "a fork was removed";
      throw new ServiceError("conflict", `${why} before all of them were ready`);
    }
    await this.willBeTold(forks);
    return forks;
  }

  /** Waits for the creates and forks that are under way, until then, in milliseconds since the epoch. */
  finish = (deadline: number): Promise<boolean> =>
    within(Promise.allSettled(this.making), Math.max(0, deadline - Date.now()));

  private counted<T>(making: Promise<T>): Promise<T> {
    this.making.add(making);
    const over = () => void this.making.delete(making);
    making.then(over, over);
    return making;
  }

  /**
   * The client is about to be told of those: from here on they are its own, whatever becomes of them.
   * @throws ServiceError diskFull: then nothing of them stays, as the client hears of a failure instead
   */
  private async willBeTold(sandboxes: Sandbox[]): Promise<void> {
    try {
      await Promise.all(sandboxes.map(({ id, settled }) => !settled && this.backend.answered(id)));
    } catch (error) {
      await this.removeAll(sandboxes);
      throw error;
    }
  }

  private async removeAll(sandboxes: Sandbox[]): Promise<void> {
    await Promise.allSettled(sandboxes.map(({ id }) => this.backend.want(id, "removed")));
  }

  /** Starts a sandbox; one that runs is no error. @throws ServiceError the reason, where it fails within the time */
  async start({ id }: Sandbox, waitMs: number): Promise<Sandbox> {
    await this.backend.want(id, "running");
    const sandbox = await this.waitUntilSettled(id, waitMs);
    // One that failed is as it was, with the reason: created, or paused.
    const runs = sandbox.status === "running" && !sandbox.paused;
    if (sandbox.settled && !runs && sandbox.failure)
      throw new ServiceError(sandbox.failure.kind, sandbox.failure.message);
    return sandbox;
  }

  /**
   * Pauses a sandbox; one that is paused is no error. In time, or as it stands.
   * @throws ServiceError the reason, where it fails within the time; conflict where it does not run
   */
  async pause({ id }: Sandbox): Promise<Sandbox> {
    await this.backend.want(id, "paused");
    return this.switched(id, true);
  }

  /**
   * Resumes a sandbox that is paused; one that runs is no error. In time, or as it stands.
   * @throws ServiceError the reason, where it fails within the time; conflict where it does not run
   */
  async resume({ id }: Sandbox): Promise<Sandbox> {
    await this.backend.resume(id);
    return this.switched(id, false);
  }

  private async switched(id: string, paused: boolean): Promise<Sandbox> {
    const sandbox = await this.waitUntilSettled(id, this.answerWithinMs);
    if (!sandbox.settled || (sandbox.status === "running" && sandbox.paused === paused)) return sandbox;
    if (sandbox.failure) throw new ServiceError(sandbox.failure.kind, sandbox.failure.message);
    throw new ServiceError(
      "conflict",
      sandbox.status === "running"
        ? `another request has ${paused ? "resumed" : "paused"} the sandbox meanwhile`
        : `the sandbox is ${sandbox.status}`,
    );
  }

  /** Stops a sandbox; one that does not run is no error. */
  async stop({ id }: Sandbox): Promise<Sandbox> {
    await this.backend.want(id, "stopped");
    const stopped = ({ settled, status }: Sandbox) => settled || status === "stopped";
    return this.backend.until(id, stopped, AbortSignal.timeout(this.answerWithinMs));
  }

  /** Removes a sandbox, running or not. It is no more for everybody when this resolves, whatever is still to be done. */
  async remove({ id }: Sandbox): Promise<void> {
    await this.backend.want(id, "removed");
    await this.waitUntilSettled(id, this.answerWithinMs).catch(() => undefined);
  }

  private waitUntilSettled = (id: string, ms: number): Promise<Sandbox> =>
    this.backend.until(id, ({ settled }) => settled, AbortSignal.timeout(ms));
}
