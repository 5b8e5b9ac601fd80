import type { SandboxRecord } from "./sandbox-record";
import { mounts, type VolumeRecord } from "./volume-record";

type Entry = { record: SandboxRecord };

/** Which sandboxes mount a volume: a removal looks at no others, however many there are. */
export class VolumeUsers<E extends Entry> {
  /** By the ids of the volumes or, for mounts that were made before those had ids, by msb's names. */
  private readonly users = new Map<string, Set<E>>();
  private readonly known = new Map<E, string[]>();

  /** Takes in what an entry mounts now; to be called after every change of its record. */
  set(entry: E): void {
    const now = mountedBy(entry.record);
    const before = this.known.get(entry);
    if (!before && now.length === 0) return;
    this.delete(entry);
    if (now.length > 0) this.known.set(entry, now);
    for (const volume of now) this.users.set(volume, (this.users.get(volume) ?? new Set()).add(entry));
  }

  delete(entry: E): void {
    for (const volume of this.known.get(entry) ?? []) {
      const users = this.users.get(volume);
      users?.delete(entry);
      if (users?.size === 0) this.users.delete(volume);
    }
    this.known.delete(entry);
  }

  *of(volume: VolumeRecord): Generator<E> {
    // An old name may be the id of another volume: what is found is looked at.
    for (const name of new Set([volume.id, volume.handle]))
      for (const entry of this.users.get(name) ?? []) if (mounts(entry.record, volume)) yield entry;
  }
}

/** What its mounts are called that {@link mounts} looks for. */
function mountedBy({ spec, volumes }: SandboxRecord): string[] {
  const unnamed = (spec?.mounted ?? []).filter((name) => volumes[name] === undefined);
  return [...new Set([...Object.values(volumes), ...unnamed])];
}
