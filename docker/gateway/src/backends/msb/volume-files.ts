import { randomBytes } from "node:crypto";
import { constants } from "node:fs";
import {
  copyFile,
  type FileHandle,
  lstat,
  mkdir,
  open,
  readdir,
  rename,
  rmdir,
  unlink,
} from "node:fs/promises";
import type { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { isKind, ServiceError } from "../../errors";
import type { FileBody } from "../../http/schema/volume";

/** How a file is called while it is being written. */
const UPLOAD = ".msb-upload-";

/**
 * Files of a volume. Guests write there too, so a folder may turn into a link to anywhere
 * between a check and its use. Therefore every step opens one folder without following links,
 * and the next step starts from that open folder (by /proc/self/fd), never from a path.
 */
export class VolumeFiles {
  constructor(private readonly root: string) {}

  async list(path: string): Promise<FileBody[]> {
    const parts = split(path);
    return this.inFolder(parts, async (folder) => {
      const names = (await readdir(folder)).filter((name) => !name.startsWith(UPLOAD));
      const files = await Promise.all(
        names.map((name) => this.describe(`${folder}/${name}`, [...parts, name])),
      );
      return files.flatMap((file) => file ?? []);
    });
  }

  async stat(path: string): Promise<FileBody> {
    const parts = split(path);
    const found = await this.inParent(parts, (folder, name) => this.describe(`${folder}/${name}`, parts));
    if (!found) throw missing(path);
    return found;
  }

  async exists(path: string): Promise<boolean> {
    try {
      await this.stat(path);
      return true;
    } catch (error) {
      if (isKind(error, "fileNotFound")) return false;
      throw error;
    }
  }

  /** An open file and its size; the caller closes it. */
  read(path: string): Promise<{ file: FileHandle; size: number }> {
    return this.inParent(split(path), async (folder, name) => {
      // Not blocking: a guest may have put a pipe there.
      const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
      const file = await open(`${folder}/${name}`, flags);
      const stats = await file.stat();
      if (stats.isFile()) return { file, size: stats.size };
      await file.close();
      throw invalid(path, "is not a file");
    });
  }

  /** Writes a file, and the folders above it; a reader sees the old content or the new one. */
  write(path: string, content: Readable): Promise<void> {
    const parts = split(path);
    return this.inParent(
      parts,
      async (folder, name) => {
        const temporary = `${folder}/${UPLOAD}${randomBytes(9).toString("hex")}`;
        try {
          const file = await open(temporary, "wx", 0o644);
          await pipeline(content, file.createWriteStream());
          await rename(temporary, `${folder}/${name}`);
        } catch (error) {
          await unlink(temporary).catch(() => undefined);
          throw error;
        }
      },
      { make: true },
    );
  }

  /** Makes a folder and those above it; one that is there is no error. */
  mkdir(path: string): Promise<void> {
    return this.inFolder(split(path), () => Promise.resolve(), { make: true });
  }

  copy(from: string, to: string): Promise<void> {
    return this.inParent(split(from), (source, sourceName) =>
      this.inParent(
        split(to),
        async (target, name) => {
          const input = await open(`${source}/${sourceName}`, constants.O_RDONLY | constants.O_NOFOLLOW);
          try {
            if (!(await input.stat()).isFile()) throw invalid(from, "is not a file");
            await unlink(`${target}/${name}`).catch(ignoreMissing);
            await copyFile(`/proc/self/fd/${input.fd}`, `${target}/${name}`, constants.COPYFILE_EXCL);
          } finally {
            await input.close();
          }
        },
        { make: true },
      ),
    );
  }

  rename(from: string, to: string): Promise<void> {
    return this.inParent(split(from), (source, sourceName) =>
      this.inParent(split(to), (target, name) => rename(`${source}/${sourceName}`, `${target}/${name}`), {
        make: true,
      }),
    );
  }

  remove(path: string, recursive: boolean): Promise<void> {
    const parts = split(path);
    if (parts.length === 0) throw invalid(path, "is the volume itself");
    return this.inParent(parts, (folder, name) => removeEntry(`${folder}/${name}`, recursive));
  }

  /** Runs a work in the folder above a path; the root itself has none. */
  private inParent<T>(
    parts: string[],
    work: (folder: string, name: string) => Promise<T>,
    options?: { make?: boolean },
  ): Promise<T> {
    const name = parts.at(-1);
    if (name === undefined) return this.inFolder([], (folder) => work(folder, "."));
    return this.inFolder(parts.slice(0, -1), (folder) => work(folder, name), options);
  }

  private async inFolder<T>(
    parts: string[],
    work: (folder: string) => Promise<T>,
    { make = false } = {},
  ): Promise<T> {
    const path = `/${parts.join("/")}`;
    let folder = await open(this.root, FOLDER);
    try {
      for (const part of parts) {
        const next = `/proc/self/fd/${folder.fd}/${part}`;
        if (make) await mkdir(next).catch(ignoreExisting);
        const opened = await open(next, FOLDER);
        await folder.close();
        folder = opened;
      }
      return await work(`/proc/self/fd/${folder.fd}`);
    } catch (error) {
      throw translate(path, error);
    } finally {
      await folder.close().catch(() => undefined);
    }
  }

  private async describe(path: string, parts: string[]): Promise<FileBody | undefined> {
    const stats = await lstat(path).catch((error) => ignoreMissing(error));
    if (!stats) return undefined;
    return {
      path: `/${parts.join("/")}`,
      kind: stats.isDirectory() ? "directory" : "file",
      size: stats.size,
      mode: stats.mode & 0o7777,
      uid: stats.uid,
      gid: stats.gid,
      readonly: (stats.mode & 0o222) === 0,
      accessed_at: stats.atime.toISOString(),
      modified_at: stats.mtime.toISOString(),
      created_at: stats.birthtime.toISOString(),
    };
  }
}

/** Not rm(): between its look at a folder and its descent a guest may put a link there. */
async function removeEntry(path: string, recursive: boolean): Promise<void> {
  if (!(await lstat(path)).isDirectory()) return unlink(path);
  if (recursive) {
    const folder = await open(path, FOLDER);
    try {
      const inside = `/proc/self/fd/${folder.fd}`;
      for (const name of await readdir(inside)) await removeEntry(`${inside}/${name}`, true);
    } finally {
      await folder.close();
    }
  }
  return rmdir(path);
}

const FOLDER = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW;

/** The parts of a path below the volume's root. @throws ServiceError 400 for one that leads out of it */
export function split(path: string): string[] {
  if (path.includes("\0") || Buffer.byteLength(path) > 4096) throw invalid(path.slice(0, 80), "is no path");
  const parts = path.split("/").filter((part) => part !== "" && part !== ".");
  if (parts.includes("..")) throw invalid(path, "leads out of the volume");
  return parts;
}

const invalid = (path: string, why: string) =>
  new ServiceError("invalidPath", `${JSON.stringify(path)} ${why}`);
const missing = (path: string) =>
  new ServiceError("fileNotFound", `no file or folder ${JSON.stringify(path)}`);

function ignoreExisting(error: NodeJS.ErrnoException): void {
  if (error.code !== "EEXIST") throw error;
}

function ignoreMissing(error: NodeJS.ErrnoException): undefined {
  if (error.code !== "ENOENT" && error.code !== "ENOTDIR") throw error;
}

function translate(path: string, error: unknown): unknown {
  const { code } = error as NodeJS.ErrnoException;
  switch (code) {
    case "ENOENT":
      return missing(path);
    case "ENOTDIR":
    case "ELOOP":
      return invalid(path, "has a part that is not a folder; links are not followed");
    case "EISDIR":
    case "EEXIST":
    case "ENOTEMPTY":
    case "EINVAL":
    case "EBUSY":
    case "EPERM":
    case "ENAMETOOLONG":
    case "ENXIO":
    case "ERR_FS_EISDIR":
      return invalid(path, `can't be used so (${code})`);
    case "ENOSPC":
    case "EDQUOT":
      return new ServiceError("noCapacity", "the server's disk is full");
    default:
      return error;
  }
}
