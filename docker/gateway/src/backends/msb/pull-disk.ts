import { readdir, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { isKind } from "../../errors";
import { withFirstSignal } from "../../first-signal";
import type { DiskReserve } from "../../limits/disk-reserve";

/** How often the disk is looked at while a pull runs. */
const LOOK_MS = 1_000;

/** What msb keeps of a pull that has not ended, and goes on with in the next one: parts of layers, layers not unpacked. */
const UNFINISHED: [folder: string, ending: RegExp][] = [
  ["tmp", /\.(part|work)$/],
  ["layers", /\.tar\.gz$/],
];

/** Keeps pulls from filling the disk: they end when it has no more free than its reserve, and give back what they took. */
export class PullDisk {
  private running = 0;
  private isShort = false;
  private cleaning: Promise<void> = Promise.resolve();

  constructor(
    /** msb's home. */
    private readonly home: string,
    private readonly disk: Pick<DiskReserve, "check">,
    /** How long a pull may take. */
    private readonly pullTimeoutMs: number,
  ) {}

  /** Runs a pull, whose signal ends it also when the disk is too full. @throws ServiceError diskFull */
  async run(signal: AbortSignal, pull: (signal: AbortSignal) => Promise<void>): Promise<void> {
    await this.disk.check();
    await this.cleaning;
    const full = new AbortController();
    const looking = setInterval(() => this.disk.check().catch((why) => full.abort(why)), LOOK_MS);
    this.running += 1;
    try {
      await withFirstSignal([signal, full.signal], pull);
    } catch (error) {
      this.isShort ||= isKind(error, "diskFull");
      throw error;
    } finally {
      clearInterval(looking);
      this.running -= 1;
      if (this.isShort && this.running === 0) await this.removeUnfinished();
    }
  }

  /** Removes what pulls have left that were ended; what one that runs may be writing stays. */
  async removeUnfinished(): Promise<void> {
    const after = this.running > 0 ? Date.now() - this.pullTimeoutMs : Number.POSITIVE_INFINITY;
    this.isShort = false;
    this.cleaning = this.removeOlder(after);
    await this.cleaning;
  }

  private async removeOlder(after: number): Promise<void> {
    for (const [name, ending] of UNFINISHED) {
      const folder = join(this.home, "cache", name);
      const files = await readdir(folder).catch(() => []);
      for (const file of files.filter((each) => ending.test(each))) {
        const path = join(folder, file);
        const { mtimeMs } = await stat(path).catch(() => ({ mtimeMs: after }));
        // What can't be removed fills the disk on, and the next one tries again.
        if (mtimeMs < after) await rm(path, { recursive: true, force: true }).catch(() => undefined);
      }
    }
  }
}
