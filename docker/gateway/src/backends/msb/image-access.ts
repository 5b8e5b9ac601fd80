import { mkdir, readFile } from "node:fs/promises";
import { dirname } from "node:path";
import * as z from "zod";
import { writeFileAtomically } from "../../files/atomic-file";
import { canonical } from "./image-reference";

const notes = z.record(
  z.string(),
  z.object({
    /** Keys that showed that they may pull it. */
    owners: z.array(z.string()),
    /** The content that was for all before, or is again: whoever may not pull the image may use this one. */
    publicDigest: z.string().optional(),
  }),
);
type Note = z.infer<typeof notes>[string];

/** The key that showed it first falls out, and pulls anew when it needs the image again. */
const MAX_OWNERS = 1_000;

/**
 * Who may use which image of the cache without asking its registry. An image that was pulled with credentials sent
 * with a request is for those keys alone that showed that they may pull it; one without a note is for all. A note is
 * on the disk before the pull begins, so that no crash opens an image.
 */
export class ImageAccess {
  private saving: Promise<void> = Promise.resolve();
  /** Pulls with credentials under way, by image. */
  private readonly pulling = new Map<string, number>();

  private constructor(
    private readonly file: string,
    private readonly notes: Map<string, Note>,
  ) {}

  /** @throws Error where the file is there and can't be read: then nobody knows which images are private */
  static async open(file: string): Promise<ImageAccess> {
    try {
      return new ImageAccess(
        file,
        new Map(Object.entries(notes.parse(JSON.parse(await readFile(file, "utf8"))))),
      );
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return new ImageAccess(file, new Map());
      throw new Error(`${file} can't be read: without it private images would be open to all keys`, {
        cause: error,
      });
    }
  }

  /** @param digest what the cache holds under that name */
  mayUse(owner: string, reference: string, digest: string | undefined): boolean {
    const note = this.notes.get(canonical(reference));
    return !note || note.owners.includes(owner) || isSame(note.publicDigest, digest);
  }

  /** Whether a pull has to go to the registry even where the image is cached. */
  isNoted = (reference: string): boolean => this.notes.has(canonical(reference));

  /** Notes that what is about to be pulled is not for all. @param digest what the cache holds before */
  async beforePull(reference: string, digest: string | undefined): Promise<void> {
    const image = canonical(reference);
    this.pulling.set(image, (this.pulling.get(image) ?? 0) + 1);
    if (!this.notes.has(image)) this.notes.set(image, { owners: [], publicDigest: digest });
    // Another's write may be under way still, or have failed.
    await this.save();
  }

  /** After a pull with an owner's credentials, done or failed. @param digest what the cache holds now */
  async afterPull(reference: string, digest: string | undefined, provedBy?: string): Promise<void> {
    const image = canonical(reference);
    const left = (this.pulling.get(image) ?? 1) - 1;
    if (left > 0) this.pulling.set(image, left);
    else this.pulling.delete(image);
    const note = this.notes.get(image) ?? { owners: [] };
    const unchanged =
      note.owners.length === 0 && (note.publicDigest === digest || isSame(note.publicDigest, digest));
    if (provedBy === undefined) {
      if (left > 0 || !unchanged || !this.notes.has(image)) return;
      this.notes.delete(image);
    } else if (unchanged && digest !== undefined) {
      // It was for all before, and the same content still is.
      if (left <= 0) this.notes.delete(image);
    } else {
      const owners = [...note.owners.filter((owner) => owner !== provedBy), provedBy].slice(-MAX_OWNERS);
      const publicDigest = isSame(note.publicDigest, digest) ? digest : undefined;
      this.notes.set(image, { owners, publicDigest });
    }
    await this.save();
  }

  /** After a pull that anybody could have made: what the cache holds now is for all. */
  async open(reference: string, digest: string | undefined): Promise<void> {
    const image = canonical(reference);
    const note = this.notes.get(image);
    if (!note) return;
    if (this.pulling.has(image)) this.notes.set(image, { ...note, publicDigest: digest });
    else this.notes.delete(image);
    await this.save();
  }

  /** Images with a note, by their full names. */
  noted = (): string[] => [...this.notes.keys()];

  /** Drops the notes of images that are not there any more. */
  async drop(images: string[]): Promise<void> {
    let changed = false;
    for (const image of images) if (!this.pulling.has(image)) changed = this.notes.delete(image) || changed;
    if (changed) await this.save();
  }

  /** One write at a time, each with all that is known when it begins. */
  private save(): Promise<void> {
    const write = async () => {
      await mkdir(dirname(this.file), { recursive: true, mode: 0o700 });
      await writeFileAtomically(this.file, JSON.stringify(Object.fromEntries(this.notes)));
    };
    this.saving = this.saving.catch(() => undefined).then(write);
    return this.saving;
  }
}

/** Whether two contents are known to be the same. */
const isSame = (a: string | undefined, b: string | undefined): boolean => a !== undefined && a === b;
