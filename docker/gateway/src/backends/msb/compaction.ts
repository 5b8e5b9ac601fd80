import { errorText } from "../../errors";
import type { Lifecycle, LifecycleLog } from "./lifecycle";
import type { Entry, SandboxIndex } from "./sandbox-index";
import type { SnapshotCommands } from "./snapshot-commands";

/** Files of a disk beyond which it is made one: each costs at every start, and msb takes 256. */
const COMPACT_ABOVE = 32;
/** How long one for which that failed is left alone. */
const AGAIN_MS = 10 * 60_000;

/** Makes one file of the disks of sandboxes that were captured often, while they are stopped. One at a time. */
export class Compaction {
  private busy = false;
  /** No other try before that time, by performance.now(). */
  private readonly notBefore = new WeakMap<Entry, number>();

  constructor(
    private readonly index: SandboxIndex,
    private readonly lifecycle: Lifecycle,
    private readonly commands: Pick<SnapshotCommands, "compact">,
    private readonly log: LifecycleLog,
  ) {}

  /** Begins with one, if there is one. Never rejects. */
  async sweep(): Promise<void> {
    if (this.busy) return;
    const entry = [...this.index.all()].find((each) => this.isDue(each));
    if (!entry) return;
    const { id: sandbox, handle, owner } = entry.record;
    this.busy = true;
    try {
      await this.lifecycle.hold(entry, () => this.commands.compact(handle, { owner: owner ?? "" }));
      await this.lifecycle.update(entry, { layers: 0 });
      this.log.info({ sandbox }, "made its disk one file");
    } catch (error) {
      this.notBefore.set(entry, performance.now() + AGAIN_MS);
      this.log.warn({ sandbox, err: errorText(error) }, "its disk is still of many files");
    } finally {
      this.busy = false;
    }
  }

  private isDue(entry: Entry): boolean {
    const { state, desired, layers } = entry.record;
    if (layers <= COMPACT_ABOVE || state !== "stopped" || desired !== "stopped") return false;
    return !entry.underWay && !entry.deferred && performance.now() >= (this.notBefore.get(entry) ?? 0);
  }
}
