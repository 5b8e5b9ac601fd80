import { mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { errorText } from "../../errors";
import { writeFileAtomically } from "../../files/atomic-file";
import type { Check } from "../../sandboxes/backend";
import type { Msb } from "./command-line";
import { canonical } from "./image-reference";
import type { LifecycleLog } from "./lifecycle";

/** The name under which clients run the built-in image. */
export const STARTER = "starter";

/**
 * A name for one version of it: when `starter` becomes another, what nothing names can't be restored from any more, and
 * snapshots of sandboxes that started from it are.
 */
const ownName = (digest: string): string =>
  `${STARTER}:${digest
    .replace(/^sha256:/, "")
    .replace(/[^A-Za-z0-9_.-]/g, "")
    .slice(0, 64)}`;

/** Whether a name is that of the built-in image, or of one of its versions: those that nothing starts from are small. */
export const isStarter = (reference: string): boolean => {
  const name = canonical(reference);
  return name === canonical(STARTER) || VERSION.test(name);
};
const VERSION = new RegExp(`^${canonical(STARTER).replace(/:latest$/, "")}:[0-9a-f]{64}$`);

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
    const own = ownName(digest);
    const cached = new Set((await this.msb.images()).map(({ reference }) => canonical(reference)));
    const isThere = cached.has(canonical(STARTER)) && cached.has(canonical(own));
    if (isThere && (await readFile(marker, "utf8").catch(() => "")) === digest) return;
    for (const name of [own, STARTER])
      await this.msb.ok(["load", "-q", "-i", archive, "-t", name], { owner: null });
    await mkdir(join(this.options.home, "gateway"), { recursive: true, mode: 0o700 });
    await writeFileAtomically(marker, digest);
    this.log.info({ digest }, "loaded the starter image");
  }
}
