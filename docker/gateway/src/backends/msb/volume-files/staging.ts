import { randomBytes } from "node:crypto";
import { type FileHandle, open, unlink } from "node:fs/promises";
import { codeOf } from "./errors";
import { namesIn, removeTree } from "./remove-tree";
import { at, openFolder, using } from "./walk";

/**
 * Where files are while they are being written: a folder on the file system of the volume, which is never listed. In it,
 * each process has a folder of its own, so that what one left that crashed can be told from what is being written.
 */
export class Staging {
  private readonly process = randomBytes(9).toString("hex");

  /**
   * @param base the folder above, which is there and is the server's own
   * @param name of the folder in it
   */
  constructor(
    private readonly base: string,
    readonly name: string,
  ) {}

  /** Runs a work with a new, empty file that has a name nowhere else. It is gone afterwards, unless it was renamed. */
  async withFile<T>(work: (file: FileHandle, path: Buffer) => Promise<T>): Promise<T> {
    const folder = await openFolder(this.base, [this.name, this.process], { make: true });
    return using(folder, async () => {
      const path = at(folder, randomBytes(9).toString("hex"));
      try {
        return await using(await open(path, "wx+", 0o600), (file) => work(file, path));
      } finally {
        await unlink(path).catch(() => undefined);
      }
    });
  }

  /** Removes what processes before this one left. */
  async clean(): Promise<void> {
    const folder = await openFolder(this.base, [this.name]).catch((error) => {
      if (codeOf(error) !== "ENOENT") throw error;
    });
    if (!folder) return;
    await using(folder, async () => {
      for await (const name of namesIn(folder)) if (name !== this.process) await removeTree(folder, name);
    });
  }
}
