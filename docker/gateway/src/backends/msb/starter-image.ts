import { mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { errorText } from "../../errors";
import { writeFileAtomically } from "../../files/atomic-file";
import type { Check } from "../../sandboxes/backend";
import type { Msb } from "./command-line";
import type { LifecycleLog } from "./lifecycle";

/** The name under which clients run the built-in image. */
export const STARTER = "starter";

/**
 * Puts the built-in image into msb's cache, so that `starter` runs with no registry in reach.
 * Loads only when the cache lacks it or the archive is another one than last time.
 */
export class StarterImage {
  private state: Check = { ok: false, reason: "the starter image is being loaded" };

  constructor(
    private readonly options: { home: string; starterArchive: string },
    private readonly msb: Msb,
    private readonly log: LifecycleLog,
  ) {}

  readonly check = (): Check => this.state;

  /** Never throws: a server without its starter image still serves all others. */
  async ensure(): Promise<void> {
    try {
      if (this.options.starterArchive) await this.load(this.options.starterArchive);
      this.state = { ok: true };
    } catch (error) {
      this.log.error({ err: errorText(error) }, "the starter image could not be loaded");
      this.state = { ok: true, reason: `the starter image is missing: ${errorText(error)}` };
    }
  }

  private async load(archive: string): Promise<void> {
    const digest = (await readFile(`${archive}.digest`, "utf8")).trim();
    const marker = join(this.options.home, "gateway", "starter.digest");
    const images = await this.msb.images();
    const cached = images.some((image) => image.reference === STARTER);
    if (cached && (await readFile(marker, "utf8").catch(() => "")) === digest) return;
    await this.msb.ok(["load", "-q", "-i", archive, "-t", STARTER]);
    await mkdir(join(this.options.home, "gateway"), { recursive: true, mode: 0o700 });
    await writeFileAtomically(marker, digest);
    this.log.info({ digest }, "loaded the starter image");
  }
}
