import { readFile } from "node:fs/promises";
import { join } from "node:path";
import * as z from "zod";
import { errorText } from "../../errors";
import type { ImageCache } from "./image-cache";
import type { LifecycleLog } from "./lifecycle";
import type { RegistryRules } from "./registry-rules";
import type { SandboxIndex } from "./sandbox-index";
import { isUnmade } from "./sandbox-record";

/** How long one pull may take. */
const PULL_MS = 60 * 60_000;
/** How long an image that could not be pulled is left alone. */
const AGAIN_MS = 10 * 60_000;

/** What sandboxes will start from that msb knows nothing of yet. */
export function* wantedImages(index: SandboxIndex, rules: RegistryRules): Generator<string> {
  for (const { record } of index.all())
    if (record.spec && isUnmade(record)) yield* rules.namesOf(record.spec.reference);
}

/**
 * What the stack's setting `images` names; components/server/stack-files.ts has the file's path.
 * @throws Error where the list is there and can't be read
 */
export async function keptImages(home: string): Promise<string[]> {
  try {
    const text = await readFile(join(home, "gateway", "images.json"), "utf8");
    return z.array(z.string()).parse(JSON.parse(text));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw error;
  }
}

/** Pulls images of the stack's setting `images` that the cache lacks, whether clients may pull or not. */
export class KeptImages {
  private readonly ending = new AbortController();
  private underWay: Promise<void> | undefined;
  /** Why each could not be pulled, and when that is tried again, by performance.now(). */
  private readonly failures = new Map<string, { why: string; notBefore: number }>();

  constructor(
    private readonly home: string,
    private readonly images: Pick<ImageCache, "prepare">,
    private readonly log: Pick<LifecycleLog, "warn">,
  ) {}

  /** Resolves when each is there or was tried. Never rejects. */
  bring(): Promise<void> {
    this.underWay ??= this.bringAll().finally(() => {
      this.underWay = undefined;
    });
    return this.underWay;
  }

  /** Ends a pull, and begins none. */
  end(): void {
    this.ending.abort(new Error("the server is being stopped"));
  }

  private async bringAll(): Promise<void> {
    const { signal } = this.ending;
    const names = await keptImages(this.home).catch((error) => {
      this.failed("", error);
      return [];
    });
    for (const reference of names) {
      if (signal.aborted) return;
      if (performance.now() < (this.failures.get(reference)?.notBefore ?? 0)) continue;
      const request = { reference, pullPolicy: "if_missing", autoPull: true, owner: "", signal } as const;
      try {
        await this.images.prepare({ ...request, deadlineMs: Date.now() + PULL_MS });
        this.failures.delete(reference);
      } catch (error) {
        this.failed(reference, error);
      }
    }
  }

  /** Tells once of what is tried again and again. */
  private failed(image: string, error: unknown): void {
    const why = errorText(error);
    const known = this.failures.get(image)?.why;
    this.failures.set(image, { why, notBefore: performance.now() + AGAIN_MS });
    if (why !== known && !this.ending.signal.aborted)
      this.log.warn({ image, err: why }, "an image of the setting images is not in the cache");
  }
}
