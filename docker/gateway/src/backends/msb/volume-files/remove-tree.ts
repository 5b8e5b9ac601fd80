import { constants } from "node:fs";
import { chmod, type FileHandle, open, opendir, rmdir, unlink } from "node:fs/promises";
import { ServiceError } from "../../../errors";
import { codeOf } from "./errors";
import type { RunTurn } from "./turns";
import { at, FOLDER, PINNED, using } from "./walk";

/** How often a folder may turn out to be filled again, or to be another one, while it is emptied. */
const MAX_SURPRISES = 1000;
/** How many names are read, or removed, at once. */
const BATCH = 64;

type Level = { name: string; dev: number; ino: number };

/**
 * Removes a folder with all that is in it, or a file. It goes down and up again step by step, with two open folders at
 * most, however deep the tree. Not rm(): between its look at a folder and its descent a guest may put a link there.
 */
export async function removeTree(
  folder: FileHandle,
  name: string,
  turn: RunTurn = (work) => work(),
): Promise<void> {
  for (let surprises = 0; surprises < MAX_SURPRISES; surprises++) {
    if (await turn(() => removeFile(folder, name))) return;
    try {
      await emptyTree(await turn(() => openToEmpty(at(folder, name))), turn);
      return await turn(() => rmdir(at(folder, name)));
    } catch (error) {
      ignoreSurprise(error);
    }
  }
  throw stillFilled();
}

/**
 * Removes all that is in a folder, and closes it. No step takes a turn for long, however much is in a folder: others
 * have theirs in between.
 */
export async function emptyTree(top: FileHandle, turn: RunTurn = (work) => work()): Promise<void> {
  const levels: Level[] = [];
  let surprises = 0;
  const surprise = (error: unknown): undefined => {
    ignoreSurprise(error);
    if (++surprises > MAX_SURPRISES) throw stillFilled();
  };
  // The one that is closed at the end, whatever fails.
  let current = top;
  const down = async (name: string) => {
    const next = await openToEmpty(at(current, name)).catch(surprise);
    if (!next) return;
    const above = current;
    current = next;
    const { dev, ino } = await above.stat().finally(() => above.close());
    levels.push({ name, dev, ino });
  };
  const up = async (level: Level) => {
    const above = await open(at(current, ".."), FOLDER);
    await current.close();
    current = above;
    // The way up is a path: from a folder that was moved meanwhile it leads elsewhere.
    const { dev, ino } = await current.stat();
    if (dev !== level.dev || ino !== level.ino) throw MOVED;
    await rmdir(at(current, level.name)).catch(surprise);
  };
  try {
    for (;;) {
      const below = await removeFiles(current, turn);
      const level = below === undefined ? levels.pop() : undefined;
      if (below !== undefined) await turn(() => down(below));
      else if (level) await turn(() => up(level));
      else return;
    }
  } finally {
    await current.close();
  }
}

/** What a folder's owner needs to list it and to remove what is in it. */
const OWNER_ALL = 0o700;

/**
 * Opens a folder that is to be emptied. A guest may have given it any mode, also one that keeps the server, whose it is,
 * from its files: then that is changed first.
 */
export async function openToEmpty(path: string | Buffer): Promise<FileHandle> {
  const folder = await open(path, FOLDER).catch((error) => {
    if (codeOf(error) !== "EACCES") throw error;
  });
  if (!folder) return using(await open(path, PINNED | constants.O_DIRECTORY), openPinned);
  try {
    const { mode } = await folder.stat();
    // Of another user's, only what is in it tells whether it can be removed.
    if ((mode & OWNER_ALL) !== OWNER_ALL) await folder.chmod(OWNER_ALL).catch(ignoreForeign);
    return folder;
  } catch (error) {
    await folder.close();
    throw error;
  }
}

function ignoreForeign(error: unknown): void {
  if (codeOf(error) !== "EPERM") throw error;
}

/** Opens the very folder that a descriptor without rights is of, whatever its path leads to by now. */
async function openPinned({ fd }: FileHandle): Promise<FileHandle> {
  const itself = `/proc/self/fd/${fd}`;
  await chmod(itself, OWNER_ALL);
  return open(itself, constants.O_RDONLY | constants.O_DIRECTORY);
}

const MOVED = Object.assign(new Error("a folder is no more where it was"), { code: "MOVED" });

/** What a guest can make happen between two steps: whoever looks next sees what is there now. */
function ignoreSurprise(error: unknown): undefined {
  if (!["ENOENT", "ENOTDIR", "ELOOP", "ENOTEMPTY", "MOVED"].includes(codeOf(error) ?? "")) throw error;
}

const stillFilled = () => new ServiceError("conflict", "a sandbox goes on changing the folder");

/** Removes the files of a folder. @returns the first folder in it; undefined when there is nothing left */
async function removeFiles(folder: FileHandle, turn: RunTurn): Promise<string | undefined> {
  const names = namesIn(folder);
  try {
    for (;;) {
      const result = await turn(() => removeBatch(folder, names));
      if (result.over) return result.below;
    }
  } finally {
    await names.return(undefined);
  }
}

/** Removes the next files, up to a folder. */
async function removeBatch(
  folder: FileHandle,
  names: AsyncGenerator<string>,
): Promise<{ over: boolean; below?: string }> {
  for (let count = 0; count < BATCH; count++) {
    const { done, value } = await names.next();
    if (done) return { over: true };
    if (!(await removeFile(folder, value))) return { over: true, below: value };
  }
  return { over: false };
}

/** Removes what is not a folder. @returns whether nothing is there any more */
async function removeFile(folder: FileHandle, name: string): Promise<boolean> {
  try {
    await unlink(at(folder, name));
    return true;
  } catch (error) {
    if (codeOf(error) === "EISDIR") return false;
    if (codeOf(error) === "ENOENT") return true;
    throw error;
  }
}

/** The names in a folder, read in batches. */
export async function* namesIn(folder: FileHandle, bufferSize = BATCH): AsyncGenerator<string> {
  // With this encoding names are buffers, which the types of opendir don't say.
  const entries = await opendir(at(folder, "."), { encoding: "buffer" as BufferEncoding, bufferSize });
  for await (const entry of entries) yield (entry.name as unknown as Buffer).toString("latin1");
}
