import { constants } from "node:fs";
import { type FileHandle, mkdir, open } from "node:fs/promises";
import type { FilePath } from "../../../sandboxes/volume-files";
import { codeOf, invalidPath } from "./errors";

/**
 * Guests write to a volume too, so a folder may turn into a link to anywhere between a check and its use. Therefore
 * every step opens one folder without following links, and the next step starts from that open folder (by
 * /proc/self/fd), never from a path.
 *
 * Names are bytes, of any encoding. Inside of this folder they are strings with one character a byte (latin1).
 */
export const FOLDER = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW;
/** Opens whatever is there, without reading or waking it; the descriptor serves stat and attributes alone. */
export const PINNED = 0o10000000 /* O_PATH */ | constants.O_NOFOLLOW;
/** Not blocking: a pipe may be there. */
export const READABLE = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;

const MAX_PATH_BYTES = 4096;
/** Each name is a folder to open: a path of thousands would keep the disk busy for long. */
const MAX_NAMES = 255;

/** Where a name in an open folder is to be found. */
export const at = (folder: FileHandle, name: string): Buffer =>
  Buffer.from(`/proc/self/fd/${folder.fd}/${name}`, "latin1");

/** The names of a path below the volume's root. @throws ServiceError invalidPath for one that leads out of it */
export function split(path: FilePath): string[] {
  if (path.includes(0) || path.length > MAX_PATH_BYTES) throw invalidPath(path, "is no path");
  const names = path
    .toString("latin1")
    .split("/")
    .filter((name) => name !== "" && name !== ".");
  if (names.includes("..")) throw invalidPath(path, "leads out of the volume");
  if (names.length > MAX_NAMES) throw invalidPath(path, `has more than ${MAX_NAMES} names`);
  return names;
}

export const join = (names: string[]): FilePath => Buffer.from(`/${names.join("/")}`, "latin1");

/** Runs a work with a handle, and closes it. */
export async function using<T>(handle: FileHandle, work: (handle: FileHandle) => Promise<T>): Promise<T> {
  try {
    return await work(handle);
  } finally {
    await handle.close();
  }
}

export type OpenFolderOptions = {
  /** Whether those that are missing are made. */
  make?: boolean;
  /** Called before one is made; what it throws is what the call fails with. */
  beforeMake?: () => Promise<void>;
  /** Ends the way down. */
  signal?: AbortSignal;
};

/** Opens a folder, one step after the other. */
export async function openFolder(
  root: string,
  names: string[],
  { make = false, beforeMake, signal }: OpenFolderOptions = {},
): Promise<FileHandle> {
  let folder = await open(root, FOLDER);
  for (const name of names)
    folder = await using(folder, (above) => {
      signal?.throwIfAborted();
      return open(at(above, name), FOLDER).catch(async (error) => {
        if (!make || codeOf(error) !== "ENOENT") throw error;
        await beforeMake?.();
        await mkdir(at(above, name)).catch(ignoreExisting);
        return open(at(above, name), FOLDER);
      });
    });
  return folder;
}

function ignoreExisting(error: unknown): void {
  if (codeOf(error) !== "EEXIST") throw error;
}
