import type { FileHandle } from "node:fs/promises";
import { type FileInfo, MAX_ENTRIES } from "../../../sandboxes/volume-files";
import { invalidPath } from "./errors";
import { infoOfEach } from "./guest-stat";
import { namesIn } from "./remove-tree";
import type { RunTurn } from "./turns";
import { join } from "./walk";

/** Bytes of the entries that are in memory at once, the path and what else there is to each. */
const PART_BYTES = 256 * 1024;
const ENTRY_BYTES = 256;
const [LEAST, MOST] = [32, 500];

/**
 * All that is in a folder, in parts. A folder that does not fit in one is read twice: first for whether it can be listed
 * at all, which is told before anything else.
 * @throws ServiceError invalidPath
 */
export async function* infosIn(
  folder: FileHandle,
  parts: string[],
  hides: (name: string) => boolean,
  turn: RunTurn,
  maxEntries = MAX_ENTRIES,
): AsyncGenerator<FileInfo[]> {
  const size = Math.floor(PART_BYTES / (join(parts).length + ENTRY_BYTES));
  const batch = Math.min(MOST, Math.max(LEAST, size));
  const known: string[] = [];
  let count = 0;
  for await (const name of namesIn(folder, batch)) {
    if (hides(name)) continue;
    if (++count <= batch) known.push(name);
    if (count > maxEntries)
      throw invalidPath(join(parts), `has more than ${maxEntries} entries: too many to list`);
  }
  if (count <= batch) return yield await turn((signal) => infoOfEach(folder, parts, known, signal));
  let names: string[] = [];
  for await (const name of namesIn(folder, batch)) {
    if (hides(name) || names.push(name) < batch) continue;
    const some = names;
    yield await turn((signal) => infoOfEach(folder, parts, some, signal));
    names = [];
  }
  yield await turn((signal) => infoOfEach(folder, parts, names, signal));
}
