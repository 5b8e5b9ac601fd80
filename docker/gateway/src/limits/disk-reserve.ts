import { statfs } from "node:fs/promises";
import { ServiceError } from "../errors";

const MAX_AGE_MS = 1000;
/** No reserve is more than this share of its file system: a small disk can be used too. */
const GREATEST_SHARE = 1 / 10;

export type DiskReserveOptions = {
  /** Any path on the file system that is meant. */
  path: string;
  /** Bytes that are to stay free; at most a tenth of the file system. 0 for no reserve. */
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

  private async look(): Promise<string | undefined> {
    // A disk that does not tell is not full for that.
    const disk = await statfs(this.options.path).catch(() => undefined);
    if (!disk) return undefined;
    const reserve = Math.min(this.options.reserveBytes, disk.blocks * disk.bsize * GREATEST_SHARE);
    if (disk.bavail * disk.bsize >= reserve) return undefined;
    return `the server's disk is full but for its reserve of ${Math.round(reserve / 1024 / 1024)} MiB`;
  }
}
