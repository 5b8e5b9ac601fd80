import { randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { open, readdir, rename, stat, unlink } from "node:fs/promises";
import { dirname, join } from "node:path";
import { diskFull } from "../errors";

/**
 * Replaces a file so that a crash at any instruction leaves either the old content or the new
 * one: temporary file, fsync, rename, fsync of the folder. Mode 0600.
 * @throws ServiceError diskFull
 */
export async function writeFileAtomically(path: string, content: string): Promise<void> {
  const temporary = `${path}.${process.pid}-${randomBytes(6).toString("hex")}.tmp`;
  writing.add(temporary);
  try {
    const file = await open(temporary, "wx", 0o600);
    try {
      await file.writeFile(content);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await unlink(temporary).catch(() => undefined);
    const { code } = error as NodeJS.ErrnoException;
    if (code !== "ENOSPC" && code !== "EDQUOT") throw error;
    throw diskFull(error);
  } finally {
    writing.delete(temporary);
  }
  await syncFolder(dirname(path));
}

/** What this process is writing. */
const writing = new Set<string>();
/** Old enough that nobody is writing it any more, where that can't be told. */
const HALF_WRITTEN_MS = 3600_000;

/** Removes what {@link writeFileAtomically} left in a folder when a crash cut it off: of this process, or of one that is no more. */
export async function removeHalfWritten(folder: string): Promise<void> {
  const names = await readdir(folder).catch(() => []);
  for (const name of names.filter((each) => each.endsWith(".tmp"))) {
    const path = join(folder, name);
    if (await isLeft(path)) await unlink(path).catch(() => undefined);
  }
}

async function isLeft(path: string): Promise<boolean> {
  const [, writer] = /\.(\d+)-[0-9a-f]+\.tmp$/.exec(path) ?? [];
  // After a restart of a container, its processes have the numbers of those before.
  if (Number(writer) === process.pid) return !writing.has(path);
  if (writer && !existsSync(`/proc/${writer}`)) return true;
  const { mtimeMs } = await stat(path).catch(() => ({ mtimeMs: Date.now() }));
  return Date.now() - mtimeMs > HALF_WRITTEN_MS;
}

/** Removes a file, durably; a missing one is no error. */
export async function removeFileDurably(path: string): Promise<void> {
  try {
    await unlink(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    return;
  }
  await syncFolder(dirname(path));
}

async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, "r");
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}
