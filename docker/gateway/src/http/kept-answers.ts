/** Bytes of all answers together. */
const MOST_BYTES = 16 * 1024 * 1024;
/** What an answer takes beside its own bytes, and beside a number for each item. */
const BESIDE = 512;
const VERSION_BYTES = 16;

/** Of what an answer is made. The same number again: the same item, and unchanged. */
export type Versioned = { version: number };
type Kept = { versions: number[]; bytes: Buffer };

/**
 * Answers that were made before, for as long as everything in them is as it was: sandboxes are asked for far more often
 * than they change. So many bytes at most; the answer that was made first goes first.
 */
export class KeptAnswers {
  private readonly answers = new Map<string, Kept>();
  private used = 0;

  constructor(private readonly mostBytes = MOST_BYTES) {}

  /** Bytes that are held. */
  get bytes(): number {
    return this.used;
  }

  /**
   * The answer of these items; made where it is not held.
   * @param shape whatever else `make` depends on
   */
  get(items: Versioned[], shape: string, make: () => Buffer): Buffer {
    const key = `${shape} ${items.length} ${items[0]?.version}`;
    const kept = this.answers.get(key);
    if (kept && items.every(({ version }, at) => version === kept.versions[at])) return kept.bytes;
    this.delete(key);
    const bytes = make();
    const versions = items.map(({ version }) => version);
    this.answers.set(key, { bytes, versions });
    this.used += sizeOf({ bytes, versions });
    for (const first of this.answers.keys()) {
      if (this.used <= this.mostBytes) break;
      this.delete(first);
    }
    return bytes;
  }

  private delete(key: string): void {
    const answer = this.answers.get(key);
    if (!answer) return;
    this.answers.delete(key);
    this.used -= sizeOf(answer);
  }
}

const sizeOf = ({ bytes, versions }: Kept): number => bytes.length + BESIDE + versions.length * VERSION_BYTES;
