import { errorText } from "../../errors";
import { within } from "../../within";
import type { Lifecycle, LifecycleLog } from "./lifecycle";
import type { Entry, SandboxIndex } from "./sandbox-index";
import type { SnapshotCommands } from "./snapshot-commands";

/** Layers of a disk beyond which they are merged: each costs at every start, and msb takes 256. */
const COMPACT_ABOVE = 32;
/** How long one for which that failed is left alone. */
const AGAIN_MS = 10 * 60_000;

/**
 * Merges the layers of disks of sandboxes that were captured often, while they are stopped. One at a time. The number of
 * layers in the record says that a merge is due until one is through: one that the end of the server, or of msb, cuts off
 * leaves the disk as it was, and the next process begins it anew.
 */
export class Compaction {
  private underWay: Promise<void> | undefined;
  private stopping = false;
  /** No other try before that time, by performance.now(). */
  private readonly notBefore = new WeakMap<Entry, number>();

  constructor(
    private readonly index: SandboxIndex,
    private readonly lifecycle: Lifecycle,
    private readonly commands: Pick<SnapshotCommands, "compact" | "inTurn" | "removeMergeLeftovers">,
    private readonly log: LifecycleLog,
  ) {}

  /** Begins with one, if there is one; resolves when nothing is under way. Never rejects. */
  async sweep(): Promise<void> {
    const due =
      this.underWay || this.stopping ? undefined : [...this.index.all()].find((each) => this.isDue(each));
    if (due)
      this.underWay = this.compact(due).finally(() => {
        this.underWay = undefined;
      });
    await this.underWay;
  }

  /** Begins with no other, and waits for the one under way, at the latest until then, in milliseconds since the epoch. */
  async finish(deadline: number): Promise<void> {
    this.stopping = true;
    await within(this.underWay ?? Promise.resolve(), Math.max(0, deadline - Date.now()));
  }

  /** Never rejects. */
  private async compact(entry: Entry): Promise<void> {
    const { id: sandbox, handle, owner } = entry.record;
    try {
      await this.commands.inTurn({ owner: owner ?? "" }, async () => {
        // It may have been started while this waited. No await between this and the hold.
        if (!this.isDue(entry)) return;
        await this.lifecycle.hold(entry, async () => {
          await this.commands.compact(handle);
          await this.commands.removeMergeLeftovers(handle).catch((error) => {
            this.log.warn(
              { sandbox, err: errorText(error) },
              "a merge of its disk that was cut off has left files",
            );
          });
        });
        await this.lifecycle.update(entry, { layers: 0 });
        this.log.info({ sandbox }, "the layers of its disk were merged");
      });
    } catch (error) {
      this.notBefore.set(entry, performance.now() + AGAIN_MS);
      this.log.warn({ sandbox, err: errorText(error) }, "the layers of its disk could not be merged");
    }
  }

  private isDue(entry: Entry): boolean {
    const { state, desired, layers } = entry.record;
    if (layers <= COMPACT_ABOVE || state !== "stopped" || desired !== "stopped") return false;
    return !entry.underWay && !entry.deferred && performance.now() >= (this.notBefore.get(entry) ?? 0);
  }
}
