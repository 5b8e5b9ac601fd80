import { errorText } from "../../errors";
import type { Limits } from "../../limits/capacity";
import type { Owner, Scope, Usage } from "../../sandboxes/backend";
import type { MirroredBackend, NamedKind } from "../../sandboxes/changes";
import { type SandboxStatus, sandboxStatus } from "../../sandboxes/spec";
import { within } from "../../within";
import { assemble, type MsbBackendOptions, type Parts } from "./assembly";
import type { ImageCache } from "./image-cache";
import type { Readiness } from "./readiness";
import { recover } from "./recovery";
import { sandboxOf } from "./sandbox-view";
import type { MsbSandboxes } from "./sandboxes";
import type { MsbSnapshots } from "./snapshots";
import type { MsbVolumes } from "./volumes";

const SWEEP_MS = 10_000;
/** How much of what is known of images' use a crash may lose. */
const FLUSH_MS = 60_000;
/** How long a stop waits for msb's list, at most. */
const LAST_LOOK_MS = 10_000;

/** msb on this machine. */
export class MsbBackend implements MirroredBackend {
  private readonly timers: NodeJS.Timeout[] = [];
  readonly sandboxes: MsbSandboxes;
  readonly volumes: MsbVolumes;
  readonly snapshots: MsbSnapshots;
  readonly images: ImageCache;

  private constructor(private readonly parts: Parts) {
    this.sandboxes = parts.sandboxes;
    this.volumes = parts.volumes;
    this.snapshots = parts.snapshots;
    this.images = parts.images;
  }

  /**
   * Reads the records and settles what the last process left. msb is waited for some seconds at most.
   * @throws ConfigError for a state that is too new
   */
  static async open(options: MsbBackendOptions): Promise<MsbBackend> {
    const parts = await assemble(options);
    await recover(parts);
    const backend = new MsbBackend(parts);
    backend.keepGoing();
    return backend;
  }

  limits = async (): Promise<Limits> => this.parts.options.limits;

  async usage(owner?: Owner): Promise<Usage> {
    const { index, volumes, snapshots } = this.parts;
    return { ...index.usage(owner), ...volumes.usage(owner), ...snapshots.usage(owner) };
  }

  ping = async (): Promise<void> => undefined;

  async hasName(kind: NamedKind, name: string, scope: Scope): Promise<boolean> {
    if (kind === "sandbox") return this.parts.index.holder(name, scope) !== undefined;
    if (kind === "snapshot") return this.snapshots.hasName(name, scope);
    return (await this.volumes.known({ names: [name] }, scope)).length > 0;
  }

  async statuses(): Promise<Record<SandboxStatus, number>> {
    const counts = Object.fromEntries(sandboxStatus.options.map((status) => [status, 0]));
    for (const entry of this.parts.index.all()) {
      if (entry.record.state === "gone") continue;
      const { status } = sandboxOf(entry);
      counts[status] = (counts[status] ?? 0) + 1;
    }
    return counts as Record<SandboxStatus, number>;
  }

  /** How many sandboxes are booted that nobody has claimed. */
  warm = () => this.parts.warm.size;
  commands = () => this.parts.msb.lanes.counts();
  version = (): Promise<string> => this.parts.msb.version();
  readiness = (): Promise<Readiness> => this.parts.probe.check();

  async resume(): Promise<void> {
    await this.parts.starter.ensure();
    this.parts.reconciler.sweep();
    this.parts.snapshotWork.sweep();
    void this.parts.keptImages.bring();
    await this.parts.resume.run();
    this.parts.warm.begin();
  }

  /** What the timer does, at some time; resolves when all that it began is done. */
  async sweep(now?: number): Promise<void> {
    await this.beginSweep(now);
    const never = new AbortController().signal;
    for (const entry of [...this.parts.index.all()])
      if (entry.underWay) await entry.until(({ underWay }) => !underWay, never);
  }

  /** Goes on with all that was not finished, and ends what is over; resolves when the slow of it is done. Never rejects. */
  private async beginSweep(now?: number): Promise<void> {
    const { reconciler, idle, options, claim, snapshotWork, compaction, warm, keptImages } = this.parts;
    reconciler.sweep(now);
    this.volumes.sweep();
    snapshotWork.sweep(now);
    const settled = claim.settle().catch(options.unusable);
    await Promise.all([idle.sweep(), compaction.sweep(), warm.fill(), keptImages.bring(), settled]);
  }

  /** What is done now and then, from here on. */
  private keepGoing(): void {
    const { options } = this.parts;
    const every = (ms: number, work: () => void) => this.timers.push(setInterval(work, ms).unref());
    every(SWEEP_MS, () => void this.beginSweep());
    const warn = (error: unknown) =>
      options.log.warn({ err: errorText(error) }, "the use of images was not saved");
    every(FLUSH_MS, () => this.images.flush().catch(warn));
  }

  async drain(deadline: number): Promise<void> {
    this.sandboxes.drain();
    this.parts.idle.end();
    this.parts.warm.end();
    this.parts.keptImages.end();
    const { view, resume, options, compaction, claim } = this.parts;
    // One that is cut off is begun anew by the next process: it would cost as much again.
    const compacted = compaction.finish(deadline);
    await this.snapshots.drain(Date.now() + (deadline - Date.now()) / 4);
    // One that was made with msb itself a moment ago is stopped cleanly, too.
    const look = () =>
      view.refresh(0).catch((error) => {
        options.log.warn({ err: errorText(error) }, "msb could not be asked for what runs");
      });
    if (!claim.refused) await within(look(), Math.min(LAST_LOOK_MS, (deadline - Date.now()) / 4));
    await resume.stopAll(deadline);
    await compacted;
  }

  async close(): Promise<void> {
    for (const timer of this.timers) clearInterval(timer);
    this.parts.lifecycle.close();
    this.volumes.close();
    this.parts.warm.end();
    this.parts.keptImages.end();
    this.parts.liveness.close();
    this.parts.index.changeWatch.close();
    await Promise.all([this.parts.records.flush(), this.images.close()]);
  }
}
