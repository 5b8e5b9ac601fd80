import { isKind } from "../../errors";
import type { CleanupFailures } from "./cleanup-failures";
import { inTermsOf, type Msb } from "./command-line";
import type { RecordStore } from "./record-store";
import type { SandboxIndex } from "./sandbox-index";
import type { VolumeFileStore } from "./volume-files/store";
import type { VolumeFolders } from "./volume-folders";
import type { VolumeRecord } from "./volume-record";

/** A large tree takes long to remove, and nobody waits for it. */
const REMOVE_TIMEOUT_MS = 24 * 3600_000;
/** How long a process that the last server left behind may still make a volume. */
const INTERRUPTED_MS = 5 * 60_000;

export type VolumeRemovalsOptions = {
  msb: Pick<Msb, "ok">;
  store: RecordStore<VolumeRecord>;
  sandboxes: Pick<SandboxIndex, "usersOf">;
  folders: VolumeFolders;
  failures: CleanupFailures;
  files: Pick<VolumeFileStore, "empty">;
};

/** Removes volumes and what is in them, behind the answers. */
export class VolumeRemovals {
  private readonly removing = new Set<string>();
  /** Until when something may come of what the last process left half made, by performance.now(). */
  private readonly halfMade = new Map<string, number>();
  /** When a handle was let go of, by performance.now(). */
  private readonly removed = new Map<string, number>();

  constructor(private readonly options: VolumeRemovalsOptions) {}

  /** The last process left it half made, or half removed. */
  interrupted = (id: string): void => void this.halfMade.set(id, performance.now() + INTERRUPTED_MS);

  /** Whether a handle was let go of since then, by performance.now(). */
  wasRemoved = (handle: string, since: number): boolean =>
    (this.removed.get(handle) ?? Number.NEGATIVE_INFINITY) >= since;

  /** Nobody asks any more for what was let go of before. */
  forget(before: number): void {
    for (const [handle, at] of this.removed) if (at < before) this.removed.delete(handle);
  }

  /** Removes a volume; what fails is tried again when it is begun again, less and less often. Never rejects. */
  async begin(record: VolumeRecord): Promise<void> {
    const { sandboxes, failures } = this.options;
    if (this.removing.has(record.id) || !failures.isDue(record.id)) return;
    // A sandbox that is on its way out goes first; the sweep comes back.
    for (const _ of sandboxes.usersOf(record)) return;
    this.removing.add(record.id);
    try {
      await this.remove(record);
      failures.over(record.id);
    } catch (error) {
      failures.note(record, error);
    } finally {
      this.removing.delete(record.id);
    }
  }

  private async remove(record: VolumeRecord): Promise<void> {
    const { msb, store, folders, failures, files } = this.options;
    const { id, handle, owner, name } = record;
    const empty = () => files.empty(folders.path(handle), owner);
    if (record.state === "making" || record.state === "active")
      await store.put({ ...record, state: "deleting" }).catch((error) => failures.tell(record, error));
    // msb goes down a tree by recursion, and ends at one that is very deep.
    if (record.capacityBytes === null) await empty();
    try {
      await msb.ok(["volume", "rm", "--", handle], { timeoutMs: REMOVE_TIMEOUT_MS, owner });
    } catch (error) {
      if (!isKind(inTermsOf(error, { what: "volume", name }), "volumeNotFound")) throw error;
      await folders.remove(handle, empty);
    }
    this.removed.set(handle, performance.now());
    // Until then the sweep looks again.
    if (performance.now() < (this.halfMade.get(id) ?? 0)) return store.put({ ...record, state: "removed" });
    this.halfMade.delete(id);
    await store.delete(id);
  }
}
