import { type FileHandle, lstat, open, rename, rmdir, unlink } from "node:fs/promises";
import type { Readable } from "node:stream";
import type { DiskReserve } from "../../../limits/disk-reserve";
import type { FileInfo, FilePath, VolumeFiles, WriteOptions } from "../../../sandboxes/volume-files";
import { BLOCK_BYTES, type ByteQuota } from "./byte-quota";
import { atMost, streamOf } from "./content";
import { copyContent } from "./copy-content";
import { codeOf, invalidPath, NOTHING_THERE, translate } from "./errors";
import { infoOf, mayBeSpecial, targetOf } from "./guest-stat";
import { infosIn } from "./list";
import { removeTree } from "./remove-tree";
import { keptOf, replace, writeContent } from "./replace";
import type { Staging } from "./staging";
import type { CallerTurns } from "./turns";
import { at, join, openFolder, PINNED, READABLE, split, using } from "./walk";

export type MsbVolumeFilesOptions = {
  /** The folder on the server that guests mount. */
  root: string;
  /** Where files are while they are written: on the same mount as the folder. */
  staging: Staging;
  /** Whether the staging folder is in the volume's own folder: then it is not to be seen. */
  stagingInside?: boolean;
  disk: DiskReserve;
  room: ByteQuota;
  /** Those of whoever calls. */
  turns: CallerTurns;
};

type Place = (folder: FileHandle, name: string) => Promise<void>;

/** The files of a volume that is a folder on this machine. */
export class MsbVolumeFiles implements VolumeFiles {
  constructor(private readonly options: MsbVolumeFilesOptions) {}

  async *list(path: FilePath): AsyncGenerator<FileInfo[]> {
    const parts = this.split(path);
    const hides = (name: string) => parts.length === 0 && this.isHidden(name);
    const folder = await translated(path, () => this.open(parts));
    try {
      yield* infosIn(folder, parts, hides, this.options.turns.turn);
    } catch (error) {
      throw translate(path, error);
    } finally {
      await folder.close();
    }
  }

  stat(path: FilePath): Promise<FileInfo> {
    const { turn } = this.options.turns;
    return this.inParent(path, (folder, name, parts) => turn((signal) => info(folder, name, parts, signal)));
  }

  async exists(path: FilePath): Promise<boolean> {
    const parts = this.split(path);
    try {
      const folder = await this.open(parts.slice(0, -1));
      await using(folder, async () => (await open(at(folder, parts.at(-1) ?? "."), PINNED)).close());
      return true;
    } catch (error) {
      if (NOTHING_THERE.has(codeOf(error) ?? "")) return false;
      throw translate(path, error);
    }
  }

  read(path: FilePath): Promise<{ size: number; content: Readable }> {
    const { turn } = this.options.turns;
    return this.inParent(path, async (folder, name) => {
      const file = await open(at(folder, name), READABLE);
      try {
        const stats = await file.stat();
        const seen = () => turn((signal) => infoOf(file, stats, signal));
        const isFile = async () => (await seen()).type === "file";
        const plain = stats.isFile() && (!mayBeSpecial(stats) || (await isFile()));
        if (!plain) throw invalidPath(path, "is not a file");
        return { size: stats.size, content: streamOf(file, stats.size, turn) };
      } catch (error) {
        await file.close();
        throw error;
      }
    });
  }

  async write(
    path: FilePath,
    content: AsyncIterable<Uint8Array>,
    { maxBytes = Number.POSITIVE_INFINITY }: WriteOptions = {},
  ): Promise<void> {
    const { staging, disk, room } = this.options;
    const { turn } = this.options.turns;
    await disk.check();
    await room.whileWriting(async (take) => {
      await take(BLOCK_BYTES);
      await this.inNewParent(path, async (folder, name) => {
        await refuseFolder(folder, name, path);
        const fill = (file: FileHandle) =>
          writeContent(file, atMost(content, maxBytes), { disk, take, turn });
        await replace({ staging, folder, name, fill, turn });
      });
    });
  }

  async mkdir(path: FilePath): Promise<void> {
    const parts = this.split(path);
    const { disk, room } = this.options;
    await disk.check();
    await room.whileWriting(async (take) => {
      await take(parts.length * BLOCK_BYTES);
      await translated(path, async () => (await this.open(parts, true)).close());
    });
  }

  async copy(from: FilePath, to: FilePath): Promise<void> {
    const { staging, disk, room, turns } = this.options;
    const { turn, signal } = turns;
    await disk.check();
    const source = await this.inParent(from, (folder, name) => open(at(folder, name), READABLE));
    await using(source, async () => {
      const stats = await translated(from, () => source.stat());
      if (!stats.isFile()) throw invalidPath(from, "is not a file");
      await room.whileWriting(async (take) => {
        await take(BLOCK_BYTES + stats.blocks * 512);
        await this.inNewParent(to, async (folder, name) => {
          await refuseFolder(folder, name, to);
          const kept = await turn((gone) => keptOf(source, gone));
          const fill = (file: FileHandle) => turns.copy(() => copyContent(source, file, { disk, signal }));
          await replace({ staging, folder, name, fill, turn, kept });
        });
      });
    });
  }

  async rename(from: FilePath, to: FilePath): Promise<void> {
    await this.inParent(from, async (source, sourceName) => {
      // No folder is made for what is not there.
      await lstat(at(source, sourceName));
      await this.inNewParent(to, async (folder, name) => {
        await this.options.turns.turn(async () => {
          await rename(at(source, sourceName), at(folder, name));
          await folder.sync();
        });
      });
      await source.sync();
    }).finally(this.options.room.freed);
  }

  async remove(path: FilePath, { recursive }: { recursive: boolean }): Promise<void> {
    if (this.split(path).length === 0) throw invalidPath(path, "is the volume itself");
    await this.inParent(path, async (folder, name) => {
      if (recursive) {
        await lstat(at(folder, name));
        return removeTree(folder, name, this.options.turns.turn);
      }
      await unlink(at(folder, name)).catch((error) => {
        if (codeOf(error) !== "EISDIR") throw error;
        return rmdir(at(folder, name));
      });
    }).finally(this.options.room.freed);
  }

  private isHidden(name: string): boolean {
    return this.options.stagingInside === true && name === this.options.staging.name;
  }

  private split(path: FilePath): string[] {
    const parts = split(path);
    if (parts[0] !== undefined && this.isHidden(parts[0])) throw invalidPath(path, "is the server's own");
    return parts;
  }

  /** Runs a work in the folder above a path; the root itself is "." in itself. On a full disk no folder is made. */
  private inParent<T>(
    path: FilePath,
    work: (folder: FileHandle, name: string, parts: string[]) => Promise<T>,
    { make = false } = {},
  ): Promise<T> {
    const parts = this.split(path);
    return translated(path, async () =>
      using(await this.open(parts.slice(0, -1), make), (folder) => work(folder, parts.at(-1) ?? ".", parts)),
    );
  }

  /** Opens a folder in a turn. */
  private open(parts: string[], make = false): Promise<FileHandle> {
    const { root, disk, turns } = this.options;
    const { turn, signal } = turns;
    return turn(() => openFolder(root, parts, { make, beforeMake: () => disk.check(), signal }));
  }

  private inNewParent(path: FilePath, work: Place): Promise<void> {
    return this.inParent(path, work, { make: true });
  }
}

async function info(
  folder: FileHandle,
  name: string,
  parts: string[],
  signal?: AbortSignal,
): Promise<FileInfo> {
  return using(await open(at(folder, name), PINNED), async (file) => {
    const stats = await file.stat();
    const seen = await infoOf(file, stats, signal);
    const target = seen.type === "symlink" ? await targetOf(folder, name, stats) : null;
    return { path: join(parts), ...seen, target };
  });
}

/** Tells before the content comes what the rename would tell after it. */
async function refuseFolder(folder: FileHandle, name: string, path: FilePath): Promise<void> {
  const there = await open(at(folder, name), PINNED).catch((error) => {
    if (codeOf(error) !== "ENOENT") throw error;
  });
  const isFolder = there && (await using(there, (file) => file.stat())).isDirectory();
  if (isFolder) throw invalidPath(path, "is a folder");
}

async function translated<T>(path: FilePath, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw translate(path, error);
  }
}
