/** Bytes that all pipes together may hold beyond what each may hold anyway. */
const TOTAL = 256 * 1024 * 1024;

/** What pipes hold in memory for clients that don't read, or have sent a part of a message, bounded in all. */
export class PipeMemory {
  private used = 0;

  constructor(private readonly total = TOTAL) {}

  /** Bytes that are held. */
  get bytes(): number {
    return this.used;
  }

  hasRoom(bytes: number): boolean {
    return this.used + bytes <= this.total;
  }

  /** One pipe's part. */
  share(): PipeShare {
    let own = 0;
    return {
      set: (bytes) => {
        this.used += bytes - own;
        own = bytes;
      },
      get bytes() {
        return own;
      },
    };
  }
}

export type PipeShare = {
  readonly bytes: number;
  /** Says how many bytes it holds now. */
  set: (bytes: number) => void;
};
