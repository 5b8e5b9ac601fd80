import { randomUUID } from "node:crypto";
import { errorText } from "../../errors";
import { withFirstSignal } from "../../first-signal";
import { Capacity } from "../../limits/capacity";
import type { Resolved } from "../../sandboxes/backend";
import { boundedResolved } from "../../sandboxes/resolved";
import type { SandboxSpec } from "../../sandboxes/spec";
import { type CreatePlan, hostNameOf } from "./create-plan";
import { setHostName } from "./host-name";
import type { ReadyImage } from "./image-cache";
import type { Seen } from "./reconciler";
import type { Share } from "./sandbox-index";
import { isWarm, warmHandle } from "./warm-handle";
import { keyOf, specOf, UNCLAIMED, type WarmKind } from "./warm-kind";
import type { ClaimResult, WarmPoolOptions } from "./warm-options";

/** How long after a claim the next one is booted: whoever has claimed works first. */
const REFILL_MS = 3_000;
/** How long one image may take to come. */
const PREPARE_MS = 15 * 60_000;
/** How long a claimed one gets to take its name. */
const CLAIM_MS = 10_000;

type WarmVm = { handle: string; kind: WarmKind; key: string; resolved: Resolved; bornAt: number };

/**
 * Sandboxes that are booted and nobody's, so that a create takes one instead of waiting for a boot. One is claimed only
 * by a create that msb would be asked for in the very same words, but for names and labels. It is then that sandbox for
 * good: none comes back. The pool gives way to whatever is really asked for, and begins anew with each start of the
 * server: it keeps nothing on disk, and what the last process left is removed.
 */
export class WarmPool {
  private readonly ready = new Map<string, WarmVm>();
  /** Those that boot, are being claimed or removed, with what they take of the limits meanwhile. */
  private readonly busy = new Map<string, Share>();
  /** What a create has to look like for each kind, as it was at the last look. */
  private readonly keys = new Map<WarmKind, string>();
  private readonly ending = new AbortController();
  /** Why each kind could not be booted at the last try. */
  private readonly failures = new Map<WarmKind, string>();
  private begun = false;
  private filling: Promise<void> | undefined;
  private timer: NodeJS.Timeout | undefined;

  private readonly capacity: Capacity;

  constructor(private readonly options: WarmPoolOptions) {
    this.capacity = new Capacity(options.limits, () => this.used());
  }

  /** How many are ready. */
  get size(): number {
    return this.ready.size;
  }

  /** Whether it has to do with that one of msb's sandboxes. */
  knows = (handle: string): boolean => this.ready.has(handle) || this.busy.has(handle);

  /** Told what msb lists of the pool's: what the last process left, and what has ended, goes. */
  seen({ name, observed }: Seen): void {
    if (this.busy.has(name)) return;
    if (!this.ready.has(name) || observed !== "running") void this.discard(name);
  }

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
    const vm = [...this.ready.values()].find((each) => each.key === key);
    const tell = (result: ClaimResult) => this.options.claimed(result, (performance.now() - began) / 1000);
    if (!vm) {
      tell(this.whyNone(key, reference));
      return undefined;
    }
    this.ready.delete(vm.handle);
    this.busy.set(vm.handle, NO_SHARE);
    this.fillLater();
    try {
      await this.setHostName(vm.handle, spec, signal);
      signal.throwIfAborted();
      tell("hit");
      return { handle: vm.handle, resolved: { ...vm.resolved, labels: spec.labels } };
    } catch (error) {
      void this.discard(vm.handle);
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
  released(handle: string): void {
    this.busy.delete(handle);
  }

  /** Makes room for what is really asked for; resolves when the room is there. */
  async giveWay(): Promise<void> {
    const gone: Promise<void>[] = [];
    for (const { handle } of this.ready.values()) {
      if (this.capacity.hasRoom(NO_SHARE, null, 0)) break;
      gone.push(this.discard(handle));
    }
    await Promise.all(gone);
  }

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
    await this.giveWay();
    for (const kind of this.options.kinds) {
      if (this.ending.signal.aborted) return;
      try {
        await this.fillKind(kind);
        this.failures.delete(kind);
      } catch (error) {
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
      const own = () => [...this.ready.values()].filter((vm) => vm.kind === kind);
      const tooOld = performance.now() - (idleSeconds > 0 ? idleSeconds * 500 : Number.POSITIVE_INFINITY);
      for (const { handle, ...vm } of own())
        if (vm.key !== key || vm.bornAt < tooOld) void this.discard(handle);
      while (own().length < kind.count && !signal.aborted) {
        if (this.options.isBusy() || !this.capacity.hasRoom(kind, null)) return;
        await checkDisk();
        await this.boot(kind, { plan, key }, image);
      }
      for (const { handle } of own().slice(kind.count)) void this.discard(handle);
    });
  }

  private async boot(
    kind: WarmKind,
    { plan, key }: { plan: CreatePlan; key: string },
    { recheck }: ReadyImage,
  ): Promise<void> {
    const { commands } = this.options;
    const { signal } = this.ending;
    const handle = warmHandle(randomUUID());
    this.busy.set(handle, kind);
    try {
      await commands.create(handle, plan, { signal, owner: null, before: recheck });
      const { resolved } = boundedResolved(await commands.inspect(handle, { owner: null, signal }));
      this.ready.set(handle, { handle, kind, key, resolved, bornAt: performance.now() });
      this.busy.delete(handle);
    } catch (error) {
      await this.discard(handle);
      throw error;
    }
  }

  /** Removes one for good; what fails is tried again when msb lists it. Never rejects. */
  private async discard(handle: string): Promise<void> {
    this.ready.delete(handle);
    this.busy.set(handle, NO_SHARE);
    try {
      await this.options.commands.remove(handle, { owner: null });
    } catch (error) {
      this.options.log.warn({ handle, err: errorText(error) }, "a warm sandbox is still there");
    } finally {
      this.busy.delete(handle);
    }
  }

  private async setHostName(handle: string, spec: SandboxSpec, signal: AbortSignal): Promise<void> {
    const guest = { home: this.options.home, handle };
    const work = (over: AbortSignal) => setHostName(guest, UNCLAIMED, hostNameOf(spec), over);
    await withFirstSignal([signal], work, CLAIM_MS);
  }

  /** What sandboxes and the pool have of the limits. */
  private used() {
    const { running, memoryMib, cpus } = this.options.used();
    const sum = { total: 0, running, memoryMib, cpus };
    const shares = [...[...this.ready.values()].map(({ kind }) => kind), ...this.busy.values()];
    for (const share of shares) {
      if (share !== NO_SHARE) sum.running++;
      sum.memoryMib += share.memoryMib;
      sum.cpus += share.vcpus;
    }
    return sum;
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

const NO_SHARE: Share = { vcpus: 0, memoryMib: 0 };
