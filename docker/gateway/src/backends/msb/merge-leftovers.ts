import { readdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import * as z from "zod";

/** Folders in which msb puts a merged disk together. */
const STAGING = ".compact-";
/** msb's list of the files that a disk is made of. */
const JOURNAL = "root-disk.json";
const journal = z.object({ layers: z.array(z.object({ path: z.string() })).min(1) });

/**
 * Removes what merges of a disk's layers have left that were cut off: as much as the disk itself each, which msb never
 * removes. A merge copies the layers into a new folder and then replaces the journal by a rename
 * (microsandbox-runtime 0.7.11, lib/checkpoint/disk.rs), so that the journal names a whole disk at any moment. A folder
 * that it names is that disk. To be called right after a merge, while nothing else is done to the sandbox: by then no
 * earlier msb is at work there, as a merge takes msb's own lock.
 *
 * @throws Error where the journal can't be read: then nothing is removed
 */
export async function removeMergeLeftovers(home: string, handle: string): Promise<void> {
  const folder = join(home, "sandboxes", handle, "runtime");
  const staged = (await readdir(folder).catch(() => [])).filter((name) => name.startsWith(STAGING));
  if (staged.length === 0) return;
  const text = await readFile(join(folder, JOURNAL), "utf8");
  journal.parse(JSON.parse(text));
  for (const name of staged)
    if (!text.includes(name)) await rm(join(folder, name), { recursive: true, force: true });
}
