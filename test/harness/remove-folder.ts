import { rm } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";

/**
 * Removes a folder, if it is there, into which programs that are ending may still write: again and again for 10
 * seconds. The `maxRetries` of Node's own `rm` tries the same folder again, but not what has come into it since.
 */
export async function removeFolder(folder: string): Promise<void> {
  const deadline = Date.now() + 10_000;
  for (;;) {
    try {
      return await rm(folder, { recursive: true, force: true });
    } catch (error) {
      if (Date.now() > deadline) throw error;
      await sleep(100);
    }
  }
}
