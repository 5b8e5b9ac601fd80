import { type FileHandle, open, rename } from "node:fs/promises";
import type { DiskReserve } from "../../../limits/disk-reserve";
import { type Attributes, attributesOf, setAttributes } from "./attributes";
import type { TakeBytes } from "./byte-quota";
import { codeOf, NOTHING_THERE } from "./errors";
import { infoOf } from "./guest-stat";
import type { Staging } from "./staging";
import type { RunTurn } from "./turns";
import { at, PINNED, using } from "./walk";

/** What a file has besides its content. */
export type Kept = { mode: number; uid: number; gid: number; attributes: Attributes };

/** Who has no say in the owner of files makes them its own. */
const canGiveAway = process.geteuid?.() === 0;

export type Replacement = {
  staging: Staging;
  /** Where the file is to be: a name in an open folder. */
  folder: FileHandle;
  name: string;
  /** Writes the content into the new file; it takes the turns that it needs. */
  fill: (file: FileHandle) => Promise<void>;
  turn: RunTurn;
  /** What the file is to have; without it, what the old file has, or mode 0644. */
  kept?: Kept;
};

/**
 * Puts a file in the place of another, or of none. It is written elsewhere, synced and then renamed: at no time, and
 * after no crash, is there a part of it.
 */
export function replace({ staging, folder, name, fill, turn, kept }: Replacement): Promise<void> {
  return staging.withFile(async (file, path) => {
    await fill(file);
    await turn((signal) => finish(file, path, signal));
  });

  async function finish(file: FileHandle, path: Buffer, signal?: AbortSignal): Promise<void> {
    const { mode, uid, gid, attributes } = kept ?? (await keptOfOld(folder, name, signal));
    await setAttributes(file, attributes, signal);
    const own = await file.stat();
    if (canGiveAway && (own.uid !== uid || own.gid !== gid)) await file.chown(uid, gid);
    await file.chmod(mode);
    await file.datasync();
    await rename(path, at(folder, name));
    await folder.sync();
  }
}

/** Writes a content into an empty file, a turn for each piece: none is held while the client sends nothing. */
export async function writeContent(
  file: FileHandle,
  content: AsyncIterable<Uint8Array>,
  { disk, take, turn }: { disk: DiskReserve; take: TakeBytes; turn: RunTurn },
): Promise<void> {
  let length = 0;
  for await (const chunk of content) {
    await disk.check();
    const position = length;
    length += chunk.length;
    if (isZero(chunk)) continue;
    await take(chunk.length);
    await turn(() => writeAt(file, chunk, position));
  }
  await file.truncate(length);
}

export async function keptOf(file: FileHandle, signal?: AbortSignal): Promise<Kept> {
  const { mode, uid, gid } = await file.stat();
  return { mode: mode & 0o7777, uid, gid, attributes: await attributesOf(file, signal) };
}

async function keptOfOld(folder: FileHandle, name: string, signal?: AbortSignal): Promise<Kept> {
  const fresh = { mode: 0o644, uid: process.geteuid?.() ?? 0, gid: process.getegid?.() ?? 0, attributes: "" };
  const old = await open(at(folder, name), PINNED).catch((error) => {
    if (!NOTHING_THERE.has(codeOf(error) ?? "")) throw error;
  });
  if (!old) return fresh;
  return using(old, async () => {
    const stats = await old.stat();
    // What is a link, a pipe or a device, to the host or to guests, gives way to a plain file.
    const plain = stats.isFile() && (await infoOf(old, stats, signal)).type === "file";
    return plain ? keptOf(old, signal) : fresh;
  });
}

async function writeAt(file: FileHandle, chunk: Uint8Array, position: number): Promise<void> {
  for (let written = 0; written < chunk.length; )
    written += (await file.write(chunk, written, chunk.length - written, position + written)).bytesWritten;
}

const HOLE_BYTES = 64 * 1024;
const ZEROS = Buffer.alloc(HOLE_BYTES);

/** What is all zeros stays a hole: a copy of a sparse file takes no more room than the file. */
function isZero(chunk: Uint8Array): boolean {
  if (chunk.length < 4096 || chunk[0] !== 0) return false;
  for (let from = 0; from < chunk.length; from += HOLE_BYTES) {
    const part = chunk.subarray(from, from + HOLE_BYTES);
    if (ZEROS.compare(part, 0, part.length, 0, part.length) !== 0) return false;
  }
  return true;
}
