import { statfs } from "node:fs/promises";
import { ServiceError } from "../errors";

const MAX_AGE_MS = 1000;
/** No reserve is more than this share of its file system: a small disk can be used too. */
const GREATEST_SHARE = 1 / 10;
const LEAST_FILES = 1000;

export type DiskReserveOptions = {
  /** Any path on the file system that is meant. */
  path: string;
  /**
   * Bytes that are to stay free; at most a tenth of the file system. 0 for no reserve. With one, files (inodes) are kept
   * free too, where the file system has a fixed number of them: the same share of all, or a thousand, at most a tenth.
   */
  reserveBytes: number;
};

/** What is to stay free of a disk, so that records can be written and things be removed. */
export class DiskReserve {
  private looked = Number.NEGATIVE_INFINITY;
  private full: Promise<string | undefined> = Promise.resolve(undefined);

  constructor(private readonly options: DiskReserveOptions) {}

  /**
   * Whether something may be added. The disk is looked at once a second at most.
   * @throws ServiceError diskFull
   */
  async check(now = performance.now()): Promise<void> {
    if (this.options.reserveBytes <= 0) return;
    if (now - this.looked >= MAX_AGE_MS) {
      this.looked = now;
      this.full = this.look();
    }
    const why = await this.full;
    if (why !== undefined) throw new ServiceError("diskFull", why);
  }

  /** Whether so many bytes more may be added; looked at anew. @throws ServiceError diskFull */
  async checkFor(bytes: number): Promise<void> {
    if (this.options.reserveBytes <= 0) return;
    const why = await this.look(bytes);
    if (why !== undefined) throw new ServiceError("diskFull", why);
  }

  private async look(more = 0): Promise<string | undefined> {
    // A disk that does not tell is not full for that.
    const disk = await statfs(this.options.path).catch(() => undefined);
    if (!disk) return undefined;
    const size = disk.blocks * disk.bsize;
    const reserve = Math.min(this.options.reserveBytes, size * GREATEST_SHARE);
    if (disk.bavail * disk.bsize < reserve)
      return `the server's disk is full but for its reserve of ${inMib(reserve)}`;
    if (disk.bavail * disk.bsize - more < reserve)
      return `${inMib(more)} more would not leave the ${inMib(reserve)} of the server's disk that are to stay free`;
    // Some file systems make inodes as they need them, and say that they have none.
    const share = Math.max(LEAST_FILES, (disk.files * reserve) / size);
    const files = Math.floor(Math.min(share, disk.files * GREATEST_SHARE));
    if (disk.ffree >= files) return undefined;
    return `the server's disk has room for no more files but for its reserve of ${files}`;
  }
}

const inMib = (bytes: number): string => `${Math.ceil(bytes / 1024 / 1024)} MiB`;
