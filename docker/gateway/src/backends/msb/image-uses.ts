import { readFile } from "node:fs/promises";
import * as z from "zod";
import { writeFileAtomically } from "../../files/atomic-file";
import { canonical } from "./image-reference";

const uses = z.record(z.string(), z.number());

/** Which images are worked with now, and when each was last asked for, in a file across restarts. */
export class ImageUses {
  private readonly working = new Map<string, number>();
  /** In milliseconds since the epoch. */
  private last = new Map<string, number>();
  private changed = false;

  private constructor(private readonly file: string) {}

  static async open(file: string): Promise<ImageUses> {
    const made = new ImageUses(file);
    try {
      made.last = new Map(Object.entries(uses.parse(JSON.parse(await readFile(file, "utf8")))));
    } catch {
      // Not known: an image is then as old as its download.
    }
    return made;
  }

  /** Works with an image, which counts as in use meanwhile: from this very call, without an await before. */
  async during<T>(reference: string, work: () => Promise<T>): Promise<T> {
    const image = canonical(reference);
    this.working.set(image, (this.working.get(image) ?? 0) + 1);
    this.last.set(image, Date.now());
    this.changed = true;
    try {
      return await work();
    } finally {
      const left = (this.working.get(image) ?? 1) - 1;
      if (left > 0) this.working.set(image, left);
      else this.working.delete(image);
    }
  }

  isUsed = (reference: string): boolean => this.working.has(canonical(reference));

  /** In milliseconds since the epoch; 0 where that is not known. */
  lastOf = (reference: string): number => this.last.get(canonical(reference)) ?? 0;

  /** All that were used, in their canonical names. */
  noted = (): string[] => [...this.last.keys()];

  forget(reference: string): void {
    if (this.last.delete(canonical(reference))) this.changed = true;
  }

  /** Writes what has changed; what failed is written the next time. A crash makes an image look older than it is. */
  async save(): Promise<void> {
    if (!this.changed) return;
    this.changed = false;
    try {
      await writeFileAtomically(this.file, JSON.stringify(Object.fromEntries(this.last)));
    } catch (error) {
      this.changed = true;
      throw error;
    }
  }
}
