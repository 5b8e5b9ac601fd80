import { existsSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import type { LifecycleLog } from "./lifecycle";
import { UUID } from "./sandbox-folders";

/** The folders of volumes in msb's home: it makes one for each, also for a disk, and removes it with its note. */
export class VolumeFolders {
  /** Handles of those that msb's last list lacked although their folders are there. */
  private unlisted = new Set<string>();

  constructor(
    private readonly home: string,
    private readonly log: Pick<LifecycleLog, "error">,
  ) {}

  path = (handle: string): string => join(this.home, "volumes", handle);

  /** Whether the folder of a volume is there: then it was not removed, whatever msb's list says. */
  has = (handle: string): boolean => existsSync(this.path(handle));

  /**
   * Removes what is left of a volume that msb has not. Only what bears an id of the gateway's can be its own.
   * @param empty removes all that is in the folder
   */
  async remove(handle: string, empty: () => Promise<void>): Promise<void> {
    if (UUID.test(handle)) {
      await empty();
      await rm(this.path(handle), { recursive: true, force: true });
    }
    this.unlisted.delete(handle);
  }

  /** Told of those that msb's list lacks although they are there. */
  note(unlisted: Set<string>): void {
    const more = [...unlisted].some((handle) => !this.unlisted.has(handle));
    this.unlisted = unlisted;
    if (more) this.log.error({ volumes: unlisted.size }, this.distrust ?? "");
  }

  /** Why msb's list is not to be trusted: it has lost its database, or was given another one. */
  get distrust(): string | undefined {
    const { size } = this.unlisted;
    if (size === 0) return undefined;
    return (
      `msb does not list ${size} of the volumes whose folders are there: its database is lost, or another one; ` +
      "their records and files stay"
    );
  }
}
