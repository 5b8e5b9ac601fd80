import type { Stats } from "node:fs";
import { type FileHandle, lstat, open, readlink } from "node:fs/promises";
import type { FileInfo, FileType } from "../../../sandboxes/volume-files";
import { attributeOfEach, attributesOf } from "./attributes";
import { codeOf, NOTHING_THERE } from "./errors";
import { at, join, READABLE, using } from "./walk";

/**
 * What a guest sees of a file. msb keeps mode, owner and type of what guests make in an attribute of the host's file,
 * which itself is a plain file of mode 0600 or a folder of mode 0700; a link is a file that holds its target. (msb's
 * crate microsandbox-filesystem, backends/shared/stat_override.rs and passthroughfs/unix/create_ops.rs.)
 */
const OVERRIDE = "user.msb.override_stat";
const OVERRIDE_VERSION = 1;
const OVERRIDE_BYTES = 20;

const TYPE_BITS = 0o170000;
const TYPES = new Map<number, FileType>([
  [0o010000, "fifo"],
  [0o020000, "character_device"],
  [0o040000, "directory"],
  [0o060000, "block_device"],
  [0o100000, "file"],
  [0o120000, "symlink"],
  [0o140000, "socket"],
]);
/** A link's target has one byte less at most; devices, pipes and sockets are empty. */
const MAX_SPECIAL_BYTES = 4096;
const SPECIAL_MODE = 0o600;

/** Files looked at at once, of the four that node works on at a time. */
const AT_ONCE = 16;

type Override = { uid: number; gid: number; mode: number };

/** Those of the names in a folder that are there. */
export async function infoOfEach(
  folder: FileHandle,
  parts: string[],
  names: string[],
  signal?: AbortSignal,
): Promise<FileInfo[]> {
  const overrides = await attributeOfEach(folder, names, OVERRIDE, signal);
  const infos: FileInfo[] = [];
  const rest = names.values();
  const next = async () => {
    for (const name of rest) {
      const stats = await lstat(at(folder, name)).catch(ignoreGone);
      if (!stats) continue;
      const seen = seenBy(stats, decode(overrides.get(name)));
      const target = seen.type === "symlink" ? await targetOf(folder, name, stats) : null;
      infos.push({ path: join([...parts, name]), ...seen, target });
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, next));
  return infos;
}

/** What a guest sees of an open file. */
export async function infoOf(
  file: FileHandle,
  stats: Stats,
  signal?: AbortSignal,
): Promise<Omit<FileInfo, "path" | "target">> {
  const kept = stats.isSymbolicLink() ? "" : await attributesOf(file, signal);
  const [, value] = kept.match(/^user\.msb\.override_stat=0x([0-9a-f]*)$/m) ?? [];
  return seenBy(stats, decode(value));
}

/** Whether a file may be a link, a device, a pipe or a socket to guests: to be sure, ask {@link infoOf}. */
export const mayBeSpecial = (stats: Stats) =>
  stats.size < MAX_SPECIAL_BYTES && (stats.mode & 0o777) === SPECIAL_MODE;

function decode(hex: string | undefined): Override | undefined {
  const bytes = Buffer.from(hex ?? "", "hex");
  if (bytes.length < OVERRIDE_BYTES || bytes[0] !== OVERRIDE_VERSION) return undefined;
  return { uid: bytes.readUInt32LE(4), gid: bytes.readUInt32LE(8), mode: bytes.readUInt32LE(12) };
}

function seenBy(stats: Stats, kept: Override | undefined): Omit<FileInfo, "path" | "target"> {
  const override = stats.isSymbolicLink() ? undefined : kept;
  const mode = override?.mode ?? stats.mode;
  return {
    type: TYPES.get(mode & TYPE_BITS) ?? "file",
    size: stats.size,
    mode: mode & 0o7777,
    // To a guest, what is the server's is its own user's.
    uid: override?.uid ?? (stats.uid === process.geteuid?.() ? 0 : stats.uid),
    gid: override?.gid ?? (stats.uid === process.geteuid?.() ? 0 : stats.gid),
    accessedAt: dateOf(stats.atime),
    modifiedAt: dateOf(stats.mtime),
    createdAt: dateOf(stats.birthtime),
  };
}

/** Guests set any time that they like; RFC 3339 has four digits of years. */
function dateOf(time: Date): Date | null {
  const year = time.getUTCFullYear();
  return year >= 0 && year <= 9999 ? time : null;
}

/** Where a link points to: a real one, or one of a guest. Null when it is one no more. */
export async function targetOf(folder: FileHandle, name: string, stats: Stats): Promise<Buffer | null> {
  try {
    if (stats.isSymbolicLink()) return await readlink(at(folder, name), { encoding: "buffer" });
    return await using(await open(at(folder, name), READABLE), async (file) => {
      const { buffer, bytesRead } = await file.read(Buffer.alloc(MAX_SPECIAL_BYTES), 0, MAX_SPECIAL_BYTES, 0);
      return buffer.subarray(0, bytesRead);
    });
  } catch {
    return null;
  }
}

function ignoreGone(error: unknown): undefined {
  if (!NOTHING_THERE.has(codeOf(error) ?? "")) throw error;
}
