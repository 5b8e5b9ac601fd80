import { readFileSync, statSync } from "node:fs";
import * as z from "zod";

const count = z.int().min(1);

/**
 * What one key may have at most, in the names of the stack's settings; what is left out is limited by the server's own
 * limits alone.
 */
const keySettings = z.object({
  sandboxes: count.optional(),
  /** Sandboxes in all, running or not. */
  totalSandboxes: count.optional(),
  memoryMiB: count.optional(),
  cpus: count.optional(),
  volumes: count.optional(),
  /** GiB promised to its volumes that have a capacity, and in the folders of the others. */
  volumeGiB: count.optional(),
  snapshots: count.optional(),
  /** These two take the place of the server's. */
  requestsPerSecond: count.optional(),
  connections: count.optional(),
});
/** A limit that is not set is no field: what has none is told by that. */
const keyLimits = keySettings.transform(({ memoryMiB: memoryMib, volumeGiB: volumeGib, ...limits }) => ({
  ...limits,
  ...(memoryMib !== undefined && { memoryMib }),
  ...(volumeGib !== undefined && { volumeGib }),
}));
export type KeyLimits = Partial<z.output<typeof keyLimits>>;

const keyLine = z.object({
  id: z.string().regex(/^[\w.-]{1,64}$/),
  hash: z.string().regex(/^sha256:[0-9a-f]{64}$/),
  expires: z.iso.datetime({ offset: true }).optional(),
  limits: keyLimits.prefault({}),
  operator: z.boolean().default(false),
});

export type Key = {
  /** Its name: what logs, lists and owners show. Two keys share one while one replaces the other. */
  id: string;
  /** SHA-256 of the key. Keys have 256 random bits, so one round is as good as a slow hash. */
  hash: Buffer;
  /** Milliseconds since the epoch; Infinity for never. */
  expiresAt: number;
  limits: KeyLimits;
  /** Whether it may read figures of the whole server where keys see nothing of each other. */
  operator: boolean;
};

export type KeyFileLog = Record<"info" | "warn" | "error", (fields: object, message: string) => void>;

/** The file with the hashes of the keys: one JSON object a line. It is replaced as a whole. */
export class KeyFile {
  private all: readonly Key[] = [];
  private byHash = new Map<string, Key>();
  private byId = new Map<string, Key>();
  private seen = "";
  private failure = "";

  constructor(
    private readonly path: string,
    private readonly log: KeyFileLog,
  ) {
    this.reload();
  }

  get keys(): readonly Key[] {
    return this.all;
  }

  get size(): number {
    return this.byHash.size;
  }

  /**
   * The key of a hash, whatever others there are. How long it takes may tell of hashes; whoever guesses can't choose the hash
   * of a guess.
   */
  withHash = (hash: Buffer): Key | undefined => this.byHash.get(hash.toString("latin1"));

  /** The first of that id: two share one while one replaces the other. */
  withId = (id: string): Key | undefined => this.byId.get(id);

  private take(keys: readonly Key[]): void {
    this.all = keys;
    this.byHash = new Map(keys.map((key) => [key.hash.toString("latin1"), key]));
    this.byId = new Map([...keys].reverse().map((key) => [key.id, key]));
  }

  /**
   * Reads the file if it is another one than before, and tells whether that was so. A file that is gone leaves no
   * key. One that can't be read changes nothing: an error of the disk must not lock everybody out.
   */
  reload(): boolean {
    try {
      const { ino, mtimeMs, size } = statSync(this.path);
      const version = `${ino} ${mtimeMs} ${size}`;
      if (version === this.seen) return false;
      const { keys, refused } = readKeys(readFileSync(this.path, "utf8"));
      if (refused > 0)
        this.log.warn({ path: this.path, lines: refused }, "lines that are no keys are left out");
      this.log.info({ keys: keys.map(({ id }) => id) }, "the keys were read");
      this.take(keys);
      this.seen = version;
      this.failure = "";
      return true;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ENOENT") {
        if (this.failure !== String(error)) this.log.error({ err: String(error) }, "the keys can't be read");
        this.failure = String(error);
        return false;
      }
      const changed = this.seen !== "";
      this.take([]);
      this.seen = "";
      return changed;
    }
  }
}

/** The keys of a file. Blank lines and comments are nothing; other lines that are no keys are counted. */
export function readKeys(text: string): { keys: Key[]; refused: number } {
  const lines = text.split("\n").map((line) => line.trim());
  const meant = lines.filter((line) => line !== "" && !line.startsWith("#"));
  const keys = meant.map(readLine).filter((key) => key !== undefined);
  return { keys, refused: meant.length - keys.length };
}

function readLine(line: string): Key | undefined {
  // The first version's form: a server that is upgraded has it until the deployment writes the file again.
  const [, hex, name] = /^sha256:([0-9a-f]{64})(?:\s+([\w.-]{1,64}))?$/.exec(line) ?? [];
  if (hex)
    return {
      id: name ?? hex.slice(0, 8),
      hash: Buffer.from(hex, "hex"),
      expiresAt: Infinity,
      limits: {},
      operator: false,
    };
  try {
    const { id, hash, expires, limits, operator } = keyLine.parse(JSON.parse(line));
    const expiresAt = expires === undefined ? Infinity : Date.parse(expires);
    return { id, hash: Buffer.from(hash.slice("sha256:".length), "hex"), expiresAt, limits, operator };
  } catch {
    return undefined;
  }
}
