import { randomUUID } from "node:crypto";
import { errorText } from "../../errors";
import { withFirstSignal } from "../../first-signal";
import { Capacity } from "../../limits/capacity";
import type { Resolved } from "../../sandboxes/backend";
import type { Size } from "../../sandboxes/compact-sandbox";
import { boundedResolved } from "../../sandboxes/resolved";
import type { CreatePlan } from "./create-plan";
import type { ReadyImage } from "./image-cache";
import type { Seen } from "./reconciler";
import { warmHandle } from "./warm-handle";
import type { WarmKind } from "./warm-kind";
import type { WarmPoolOptions } from "./warm-options";

export type WarmVm = { handle: string; kind: WarmKind; key: string; resolved: Resolved; bornAt: number };

/**
 * The microVMs of the warm pool, with the memory and the CPUs that each of them has from its boot to its end. Together
 * with the sandboxes they never have more than the limits allow.
 */
export class WarmVms {
  readonly ready = new Map<string, WarmVm>();
  /** Those that boot, are being claimed or removed, with what they take of the limits meanwhile. */
  private readonly busy = new Map<string, Size>();
  /** Those of them that are being removed, until they are: they hold their memory to the end. */
  private readonly leaving = new Map<string, Promise<void>>();
  /** The one that boots, until its boot is over, however that went. */
  private booting: { abort: AbortController; over: Promise<void> } | undefined;
  private readonly capacity: Capacity;
  /** As it will be when what is being removed is gone. */
  private readonly capacitySoon: Capacity;

  constructor(private readonly options: Pick<WarmPoolOptions, "limits" | "used" | "commands" | "log">) {
    this.capacity = new Capacity(options.limits, () => this.used(() => true));
    this.capacitySoon = new Capacity(options.limits, () => this.used((handle) => !this.leaving.has(handle)));
  }

  knows = (handle: string): boolean => this.ready.has(handle) || this.busy.has(handle);
  hasRoom = (share: Size): boolean => this.capacity.hasRoom(share, null);

  seen({ name, observed }: Seen): void {
    if (this.busy.has(name)) return;
    const known = this.ready.get(name);
    if (!known || observed !== "running") void this.discard(name, known?.kind ?? NO_SHARE);
  }

  /** Takes one out; until {@link released} its handle is nobody else's. */
  claim(handle: string): void {
    this.ready.delete(handle);
    // What it takes, the record that asks for it has.
    this.busy.set(handle, NO_SHARE);
  }

  released(handle: string): void {
    this.busy.delete(handle);
  }

  /** Makes room for what is really asked for; resolves when the room is there. */
  async giveWay(): Promise<void> {
    const { booting } = this;
    for (const { handle, kind } of this.ready.values()) {
      if (fits(this.capacitySoon)) break;
      void this.discard(handle, kind);
    }
    if (booting && !fits(this.capacitySoon)) {
      booting.abort.abort(new GivesWay("it gives way to what was asked for"));
      await booting.over;
    }
    if (!fits(this.capacity)) await Promise.all(this.leaving.values());
  }

  /**
   * Boots one more, which is ready then.
   * @throws GivesWay where that gave way to what was asked for; whatever msb or the signal gives as the reason
   */
  async boot(
    kind: WarmKind,
    { plan, key, recheck }: { plan: CreatePlan; key: string } & Pick<ReadyImage, "recheck">,
    ending: AbortSignal,
  ): Promise<void> {
    const { commands } = this.options;
    const handle = warmHandle(randomUUID());
    const abort = new AbortController();
    const work = async (signal: AbortSignal) => {
      await commands.create(handle, plan, { signal, owner: null, before: recheck });
      const { resolved } = boundedResolved(await commands.inspect(handle, { owner: null, signal }));
      signal.throwIfAborted();
      this.ready.set(handle, { handle, kind, key, resolved, bornAt: performance.now() });
      this.busy.delete(handle);
    };
    this.busy.set(handle, kind);
    const booted = withFirstSignal([ending, abort.signal], work).catch(async (error) => {
      await this.discard(handle, kind);
      throw abort.signal.aborted ? abort.signal.reason : error;
    });
    this.booting = { abort, over: booted.catch(() => undefined) };
    await booted.finally(() => {
      this.booting = undefined;
    });
  }

  /** Removes one for good; what fails is tried again when msb lists it. Never rejects. */
  discard(handle: string, share: Size): Promise<void> {
    this.ready.delete(handle);
    this.busy.set(handle, share);
    const gone = this.options.commands
      .remove(handle, { owner: null })
      .catch((error) =>
        this.options.log.warn({ handle, err: errorText(error) }, "a warm sandbox is still there"),
      )
      .finally(() => {
        this.busy.delete(handle);
        this.leaving.delete(handle);
      });
    this.leaving.set(handle, gone);
    return gone;
  }

  /** What sandboxes and those of the pool that count have of the limits. */
  private used(counts: (handle: string) => boolean) {
    const { running, memoryMib, cpus } = this.options.used();
    const sum = { total: 0, running, memoryMib, cpus };
    const ready = [...this.ready].map(([handle, { kind }]): [string, Size] => [handle, kind]);
    for (const [handle, share] of [...ready, ...this.busy]) {
      if (!counts(handle)) continue;
      if (share !== NO_SHARE) sum.running++;
      sum.memoryMib += share.memoryMib;
      sum.cpus += share.vcpus;
    }
    return sum;
  }
}

const NO_SHARE: Size = { vcpus: 0, memoryMib: 0 };

/** Whether what is in use keeps the limits. */
const fits = (capacity: Capacity): boolean => capacity.hasRoom(NO_SHARE, null, 0);

/** Why a boot of the pool's was given up: no failure. */
export class GivesWay extends Error {}
