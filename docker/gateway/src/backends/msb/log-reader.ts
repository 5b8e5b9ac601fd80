import { createHash } from "node:crypto";
import { open, readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import type { LogCursor, LogEntry } from "../../sandboxes/backend";

const CHUNK = 16 * 1024;
/**
 * A longer line is skipped. Agents say 16 KiB at a time, at most six times as much as JSON; what speaks in an agent's place
 * may say more, and each reader of its log would hold that, and the text that is made of it.
 */
const MAX_LINE = 128 * 1024;

/** Does a piece of work when the turn for it comes. */
export type LogTurn = <T>(work: () => Promise<T>) => Promise<T>;

/** Reads a sandbox's execution log, older files (exec.log.2, exec.log.1) first. */
export class LogReader {
  private constructor(
    private readonly folder: string,
    private generation: bigint,
    private offset: number,
    private readonly turn: LogTurn,
  ) {}

  /** From a position, or from the oldest file; a position in a file that is no more means from the oldest. */
  static async open(folder: string, turn: LogTurn, from?: LogCursor): Promise<LogReader> {
    const files = await logFiles(folder);
    const known = from && files.find(({ generation }) => generation === from.generation);
    if (from && known) return new LogReader(folder, from.generation, Number(from.offset), turn);
    return new LogReader(folder, files[0]?.generation ?? 0n, 0, turn);
  }

  /** All complete lines from here to the end, in pieces. */
  async *read(): AsyncGenerator<LogEntry[]> {
    for (;;) {
      const files = await logFiles(this.folder);
      const index = files.findIndex(({ generation }) => generation === this.generation);
      const file = files[Math.max(index, 0)];
      if (!file) return;
      if (index < 0) this.moveTo(file);
      yield* this.readFile(file.path);
      const next = files[files.indexOf(file) + 1];
      if (!next) return;
      this.moveTo(next);
    }
  }

  private moveTo({ generation }: LogFile): void {
    this.generation = generation;
    this.offset = 0;
  }

  private async *readFile(path: string): AsyncGenerator<LogEntry[]> {
    const file = await open(path, "r").catch(() => undefined);
    if (!file) return;
    try {
      const { size } = await file.stat();
      if (size < this.offset) this.offset = 0;
      let rest = Buffer.alloc(0);
      for (;;) {
        const { bytesRead, buffer } = await file.read(
          Buffer.alloc(CHUNK),
          0,
          CHUNK,
          this.offset + rest.length,
        );
        if (bytesRead === 0) return;
        const data = Buffer.concat([rest, buffer.subarray(0, bytesRead)]);
        const end = data.lastIndexOf(10) + 1;
        const entries = await this.turn(async () => this.entriesOf(data.subarray(0, end)));
        this.offset += end;
        rest = data.subarray(end);
        if (rest.length > MAX_LINE) {
          this.offset += rest.length;
          rest = Buffer.alloc(0);
        }
        if (entries.length > 0) yield entries;
      }
    } finally {
      await file.close();
    }
  }

  private entriesOf(lines: Buffer): LogEntry[] {
    const entries: LogEntry[] = [];
    for (let at = 0; at < lines.length; ) {
      const end = lines.indexOf(10, at) + 1;
      const cursor = { generation: this.generation, offset: BigInt(this.offset + end) };
      const parsed = parseLine(lines.toString("utf8", at, end - 1));
      if (parsed) entries.push({ ...parsed, cursor });
      at = end;
    }
    return entries;
  }
}

function parseLine(line: string): Omit<LogEntry, "cursor"> | undefined {
  try {
    // By hand, not by a schema: a log has as many lines as its guest likes.
    const { t, s, d, e } = JSON.parse(line);
    if (typeof t !== "string" || typeof s !== "string" || typeof d !== "string") return undefined;
    return { source: s, ts: t, text: e === "b64" ? Buffer.from(d, "base64").toString("utf8") : d };
  } catch {
    return undefined;
  }
}

/** A file system gives the inode of a file that is gone to the next one: its time of birth tells them apart. */
function generationOf({ ino, birthtimeNs }: { ino: bigint; birthtimeNs: bigint }): bigint {
  return createHash("sha256").update(`${ino} ${birthtimeNs}`).digest().readBigUInt64LE();
}

type LogFile = { path: string; generation: bigint };

/** The log and its rotated predecessors, oldest first. */
async function logFiles(folder: string): Promise<LogFile[]> {
  const names = await readdir(folder).catch(() => []);
  const ranked = names.flatMap((name) => {
    const match = /^exec\.log(?:\.(\d+))?$/.exec(name);
    return match ? [{ name, age: Number(match[1] ?? 0) }] : [];
  });
  ranked.sort((a, b) => b.age - a.age);
  const files = await Promise.all(
    ranked.map(async ({ name }) => {
      const path = join(folder, name);
      const found = await stat(path, { bigint: true }).catch(() => undefined);
      return found ? [{ path, generation: generationOf(found) }] : [];
    }),
  );
  return files.flat();
}
