import { open, readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import * as z from "zod";

/** Where a reader stands: which file, by inode, and the byte after the last line it got. */
export type LogPosition = { generation: bigint; offset: bigint };

const entry = z.object({ t: z.string(), s: z.string(), d: z.string(), e: z.string().optional() });
export type LogEntry = { source: string; ts: string; text: string; position: LogPosition };

const CHUNK = 64 * 1024;
/** A line longer than this is skipped: no relay frame makes one. */
const MAX_LINE = 8 * 1024 * 1024;

/** The client's own form of a position: count, then generation and offset as 64-bit numbers. */
export function encodeCursor({ generation, offset }: LogPosition): string {
  const bytes = Buffer.alloc(17);
  bytes[0] = 1;
  bytes.writeBigUInt64LE(generation, 1);
  bytes.writeBigUInt64LE(offset, 9);
  return bytes.toString("base64");
}

/** Undefined for "from the start" (an empty cursor); null for what is no cursor. */
export function decodeCursor(text: string): LogPosition | undefined | null {
  if (!/^[A-Za-z0-9+/]+={0,2}$/.test(text)) return null;
  const bytes = Buffer.from(text, "base64");
  const count = bytes[0];
  if (count === undefined || bytes.length !== 1 + count * 16) return null;
  if (count === 0) return undefined;
  return { generation: bytes.readBigUInt64LE(1), offset: bytes.readBigUInt64LE(9) };
}

/** Reads a sandbox's execution log, older files (exec.log.2, exec.log.1) first. */
export class LogReader {
  private constructor(
    private readonly folder: string,
    private generation: bigint,
    private offset: number,
  ) {}

  /** From a position, or from the oldest file; a position in a file that is no more means from the oldest. */
  static async open(folder: string, from?: LogPosition): Promise<LogReader> {
    const files = await logFiles(folder);
    const known = from && files.find(({ inode }) => inode === from.generation);
    if (from && known) return new LogReader(folder, from.generation, Number(from.offset));
    return new LogReader(folder, files[0]?.inode ?? 0n, 0);
  }

  /** All complete lines from here to the end, in pieces. */
  async *read(): AsyncGenerator<LogEntry[]> {
    for (;;) {
      const files = await logFiles(this.folder);
      const index = files.findIndex(({ inode }) => inode === this.generation);
      const file = files[Math.max(index, 0)];
      if (!file) return;
      if (index < 0) Object.assign(this, { generation: file.inode, offset: 0 });
      yield* this.readFile(file.path);
      const next = files[files.indexOf(file) + 1];
      if (!next) return;
      Object.assign(this, { generation: next.inode, offset: 0 });
    }
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
        const entries = this.entriesOf(data.subarray(0, end));
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
      const position = { generation: this.generation, offset: BigInt(this.offset + end) };
      const parsed = parseLine(lines.toString("utf8", at, end - 1));
      if (parsed) entries.push({ ...parsed, position });
      at = end;
    }
    return entries;
  }
}

function parseLine(line: string): Omit<LogEntry, "position"> | undefined {
  try {
    const { t, s, d, e } = entry.parse(JSON.parse(line));
    return { source: s, ts: t, text: e === "b64" ? Buffer.from(d, "base64").toString("utf8") : d };
  } catch {
    return undefined;
  }
}

type LogFile = { path: string; inode: bigint };

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
      return found ? [{ path, inode: found.ino }] : [];
    }),
  );
  return files.flat();
}
