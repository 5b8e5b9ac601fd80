import { existsSync } from "node:fs";
import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { isWarm } from "./warm-handle";

/** What a handle looks like that the gateway has given. */
export const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/**
 * The folders of sandboxes in msb's home. msb makes one, with the disk in it, before it notes the sandbox, and removes
 * it with the note: where a create failed in between, `msb rm` finds nothing, and the disk stays.
 */
export class SandboxFolders {
  constructor(private readonly home: string) {}

  /** Whether the folder of a sandbox is there: then it was not removed, whatever msb's list says. */
  has = (handle: string): boolean => existsSync(join(this.home, "sandboxes", handle));

  /** Removes what is left of a sandbox that msb has not. Only what bears an id of the gateway's can be its own. */
  async remove(handle: string): Promise<void> {
    if (UUID.test(handle) || isWarm(handle))
      await rm(join(this.home, "sandboxes", handle), { recursive: true, force: true });
  }

  /** Removes those of which nobody knows: of creates that a crash of the server interrupted. */
  async removeUnknown(isKnown: (handle: string) => boolean): Promise<void> {
    const names = await readdir(join(this.home, "sandboxes")).catch(() => []);
    for (const name of names) if (!isKnown(name)) await this.remove(name);
  }
}
