import { errorText } from "../../errors";
import { withFirstSignal } from "../../first-signal";
import type { Resolved } from "../../sandboxes/backend";
import type { SandboxSpec } from "../../sandboxes/spec";
import { type CreatePlan, hostNameOf } from "./create-plan";
import { setHostName } from "./host-name";
import type { ReadyImage } from "./image-cache";
import type { Seen } from "./reconciler";
import { isWarm } from "./warm-handle";
import { keyOf, specOf, UNCLAIMED, type WarmKind } from "./warm-kind";
import type { ClaimResult, WarmPoolOptions } from "./warm-options";
import { GivesWay, WarmVms } from "./warm-vms";

/** How long after a claim the next one is booted: whoever has claimed works first. */
const REFILL_MS = 3_000;
/** How long one image may take to come. */
const PREPARE_MS = 15 * 60_000;
/** How long a claimed one gets to take its name. */
const CLAIM_MS = 10_000;

/**
 * Sandboxes that are booted and nobody's, so that a create takes one instead of waiting for a boot. One is claimed only
 * by a create that msb would be asked for in the very same words, but for names and labels. It is then that sandbox for
 * good: none comes back. The pool gives way to whatever is really asked for, and begins anew with each start of the
 * server: it keeps nothing on disk, and what the last process left is removed.
 */
export class WarmPool {
  private readonly vms: WarmVms;
  /** What a create has to look like for each kind, as it was at the last look. */
  private readonly keys = new Map<WarmKind, string>();
  private readonly ending = new AbortController();
  /** Why each kind could not be booted at the last try. */
  private readonly failures = new Map<WarmKind, string>();
  private begun = false;
  private filling: Promise<void> | undefined;
  private timer: NodeJS.Timeout | undefined;

  constructor(private readonly options: WarmPoolOptions) {
    this.vms = new WarmVms(options);
  }

  /** How many are ready. */
  get size(): number {
    return this.vms.ready.size;
  }

  /** Whether it has to do with that one of msb's sandboxes. */
  knows = (handle: string): boolean => this.vms.knows(handle);

  /** Told what msb lists of the pool's: what the last process left, and what has ended, goes. */
  seen = (seen: Seen): void => this.vms.seen(seen);

  /**
   * Makes one of the pool the sandbox that is asked for. Until {@link released} its handle is nobody else's.
   * @returns what the record gains; undefined where none fits, or it could not be made so
   */
  async claim(
    spec: SandboxSpec,
    plan: CreatePlan,
    { reference, digest }: ReadyImage,
    signal: AbortSignal,
  ): Promise<{ handle: string; resolved: Resolved } | undefined> {
    if (this.options.kinds.length === 0) return undefined;
    const began = performance.now();
    const key = keyOf(plan, digest);
    const vm = [...this.vms.ready.values()].find((each) => each.key === key);
    const tell = (result: ClaimResult) => this.options.claimed(result, (performance.now() - began) / 1000);
    if (!vm) {
      tell(this.whyNone(key, reference));
      return undefined;
    }
    this.vms.claim(vm.handle);
    this.fillLater();
    try {
      await this.setHostName(vm.handle, spec, signal);
      signal.throwIfAborted();
      tell("hit");
      return { handle: vm.handle, resolved: { ...vm.resolved, labels: spec.labels } };
    } catch (error) {
      void this.vms.discard(vm.handle, vm.kind);
      signal.throwIfAborted();
      this.options.log.warn({ handle: vm.handle, err: errorText(error) }, "a warm sandbox is of no use");
      tell("failed");
      return undefined;
    }
  }

  /** One that was claimed has booted anew: msb has given it the name again that all of the pool have. Never rejects. */
  async started(handle: string, spec: SandboxSpec | undefined, signal: AbortSignal): Promise<void> {
    if (!isWarm(handle) || !spec) return;
    const warn = (error: unknown) =>
      this.options.log.warn({ handle, err: errorText(error) }, "its host name is not its own");
    await this.setHostName(handle, spec, signal).catch(warn);
  }

  /** A record has it now. */
  released = (handle: string): void => this.vms.released(handle);

  /** Makes room for what is really asked for; resolves when the room is there. */
  giveWay = (): Promise<void> => this.vms.giveWay();

  /** From now on it is filled. */
  begin(): void {
    this.begun = true;
    void this.fill();
  }

  /** Boots what is missing, while nothing else boots; what does not fit any more goes. Never rejects. */
  fill(): Promise<void> {
    const { kinds } = this.options;
    if (kinds.length === 0 || !this.begun || this.ending.signal.aborted) return Promise.resolve();
    this.filling ??= this.fillAll().finally(() => {
      this.filling = undefined;
    });
    return this.filling;
  }

  /** Boots no more; what there is ends with the server. */
  end(): void {
    this.ending.abort(new Error("the server is being stopped"));
    clearTimeout(this.timer);
  }

  private async fillAll(): Promise<void> {
    await this.vms.giveWay();
    for (const kind of this.options.kinds) {
      if (this.ending.signal.aborted) return;
      try {
        await this.fillKind(kind);
        this.failures.delete(kind);
      } catch (error) {
        if (error instanceof GivesWay) return;
        this.failed(kind, errorText(error));
      }
    }
  }

  /** Tells once of what is tried again and again. */
  private failed(kind: WarmKind, err: string): void {
    if (this.ending.signal.aborted || this.failures.get(kind) === err) return;
    this.failures.set(kind, err);
    this.options.log.warn({ image: kind.image, err }, "no warm sandbox could be made");
  }

  private async fillKind(kind: WarmKind): Promise<void> {
    const { images, autoPull, planOf, idleSeconds, checkDisk } = this.options;
    const { signal } = this.ending;
    const request = { reference: kind.image, pullPolicy: "if_missing", autoPull, signal, owner: "" } as const;
    await images.withImage({ ...request, deadlineMs: Date.now() + PREPARE_MS }, async (image) => {
      const plan = await planOf(specOf(kind, idleSeconds), image.reference);
      const key = keyOf(plan, image.digest);
      this.keys.set(kind, key);
      const own = () => [...this.vms.ready.values()].filter((vm) => vm.kind === kind);
      // Renewed well before msb stops them.
      const bornBefore = performance.now() - (idleSeconds > 0 ? idleSeconds * 500 : Number.POSITIVE_INFINITY);
      const tooOld = () => own().find(({ bornAt }) => bornAt < bornBefore);
      const useless = own().filter((vm) => vm.key !== key);
      await Promise.all(useless.map(({ handle }) => this.vms.discard(handle, kind)));
      while ((own().length < kind.count || tooOld()) && !signal.aborted && !this.options.isBusy()) {
        // Before one goes that another is to replace.
        await checkDisk();
        // One after the other: most of the pool stays, and it takes no more memory meanwhile.
        const old = tooOld();
        if (old) await this.vms.discard(old.handle, kind);
        // No await between this and the boot, which counts from then on.
        if (!this.vms.hasRoom(kind)) {
          this.checkLimits();
          return;
        }
        await this.vms.boot(kind, { plan, key, recheck: image.recheck }, signal);
      }
    });
  }

  /** @throws Error where the limits have no room for the whole pool, even while no sandbox runs */
  private checkLimits(): void {
    const { kinds, limits } = this.options;
    const all = { running: 0, memoryMib: 0, cpus: 0 };
    for (const { count, memoryMib, vcpus } of kinds) {
      all.running += count;
      all.memoryMib += count * memoryMib;
      all.cpus += count * vcpus;
    }
    const { sandboxes, memoryMib, cpus } = limits;
    if (all.running <= sandboxes && all.memoryMib <= memoryMib && all.cpus <= cpus) return;
    throw new Error(
      `the setting warm needs ${all.running} sandboxes, ${all.memoryMib} MiB and ${all.cpus} CPUs; ` +
        `the limits are ${sandboxes}, ${memoryMib} MiB and ${cpus}`,
    );
  }

  private async setHostName(handle: string, spec: SandboxSpec, signal: AbortSignal): Promise<void> {
    const guest = { home: this.options.home, handle };
    const work = (over: AbortSignal) => setHostName(guest, UNCLAIMED, hostNameOf(spec), over);
    await withFirstSignal([signal], work, CLAIM_MS);
  }

  private fillLater(): void {
    this.timer ??= setTimeout(() => {
      this.timer = undefined;
      void this.fill();
    }, REFILL_MS).unref();
  }

  private whyNone(key: string, reference: string): ClaimResult {
    if ([...this.keys.values()].includes(key)) return "empty";
    return this.options.kinds.some(({ image }) => reference.endsWith(image)) ? "spec" : "image";
  }
}
