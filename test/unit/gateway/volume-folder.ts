import { execFileSync, spawnSync } from "node:child_process";
import {
  closeSync,
  constants,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { NO_QUOTA } from "../../../docker/gateway/src/backends/msb/volume-files/byte-quota";
import { VolumeFileStore } from "../../../docker/gateway/src/backends/msb/volume-files/store";
import type { FileInfo, VolumeFiles } from "../../../docker/gateway/src/sandboxes/volume-files";
import { atFileEnd } from "../../harness/file-end";
import { removeFolder } from "../../harness/remove-folder";

const OVERRIDE = "user.msb.override_stat";
/** Memory disks of older kernels have no attributes; this is a real disk. */
const DISK = "/var/tmp";

/** A volume in a home of its own. */
export class VolumeFolder {
  readonly root: string;
  readonly store: VolumeFileStore;
  readonly files: VolumeFiles;

  constructor(readonly home = newFolder()) {
    this.root = join(home, "volumes", "v");
    mkdirSync(this.root, { recursive: true });
    mkdirSync(join(home, "gateway"), { recursive: true });
    mkdirSync(join(home, "workspace"), { recursive: true });
    this.store = new VolumeFileStore({ home, workspace: join(home, "workspace"), reserveBytes: 0 });
    this.files = this.store.named(this.root, { owner: "test" }, NO_QUOTA);
  }

  inside = (...names: string[]) => join(this.root, ...names);
  /** Files that are being written, or were left. */
  uploads = () => {
    const all = readdirSync(join(this.home, "gateway"), { recursive: true, withFileTypes: true });
    return all.filter((entry) => entry.isFile()).map((entry) => entry.name);
  };
  write = (path: string | Buffer, content: string | Buffer) =>
    this.files.write(Buffer.from(path), bytes(content));
  list = (path: string | Buffer) => listed(this.files, path);
  /** The whole content of a file, as a client reads it. */
  async read(path: string | Buffer): Promise<Buffer> {
    const { content } = await this.files.read(Buffer.from(path));
    return Buffer.concat(await content.toArray());
  }
}

/** All parts of a list together. */
export async function listed(files: Pick<VolumeFiles, "list">, path: string | Buffer): Promise<FileInfo[]> {
  const infos: FileInfo[] = [];
  for await (const part of files.list(Buffer.from(path))) infos.push(...part);
  return infos;
}

export function newFolder(): string {
  const folder = mkdtempSync(join(DISK, "volume-"));
  atFileEnd(() => removeFolder(folder));
  return folder;
}

export async function* bytes(...chunks: (string | Buffer)[]): AsyncGenerator<Buffer> {
  for (const chunk of chunks) yield Buffer.from(chunk);
}

/**
 * A small disk of its own; undefined, with a line that says why, where none can be mounted.
 * @param options of tmpfs, beside its size
 */
export function smallDisk(size: string, options = ""): string | undefined {
  const folder = newFolder();
  const { status, stderr } = spawnSync("mount", [
    "-t",
    "tmpfs",
    "-o",
    `size=${size}${options}`,
    "tmpfs",
    folder,
  ]);
  if (status !== 0) {
    console.warn(`no small disk: ${stderr?.toString().trim() || "mount is not permitted"}`);
    return undefined;
  }
  atFileEnd(() => void execFileSync("umount", ["--lazy", folder]));
  return folder;
}

/** What msb keeps of a file that a guest made. */
export type Override = { mode: number; uid: number; gid: number };

export function override(path: string | Buffer, { mode, uid, gid }: Override): void {
  const value = Buffer.alloc(20);
  value[0] = 1;
  value.writeUInt32LE(uid, 4);
  value.writeUInt32LE(gid, 8);
  value.writeUInt32LE(mode, 12);
  setAttribute(path, OVERRIDE, value);
}

export function setAttribute(path: string | Buffer, name: string, value: Buffer): void {
  const fd = openSync(path, constants.O_RDONLY);
  try {
    const args = ["-n", name, "-v", `0x${value.toString("hex")}`, "/proc/self/fd/3"];
    execFileSync("setfattr", args, { stdio: ["ignore", "pipe", "pipe", fd] });
  } finally {
    closeSync(fd);
  }
}

/** All of a file's attributes, as text. */
export const attributesAt = (path: string): string =>
  execFileSync("getfattr", ["-d", "-e", "hex", "--absolute-names", path], { encoding: "utf8" })
    .split("\n")
    .slice(1)
    .join("\n")
    .trim();

/** Why attributes can't be tested here; undefined where they can. */
export function whyNoAttributes(): string | undefined {
  const probe = join(newFolder(), "probe");
  writeFileSync(probe, "");
  try {
    setAttribute(probe, "user.probe", Buffer.from("x"));
    return readFileSync(probe, "utf8") === "" ? undefined : "the probe changed";
  } catch (error) {
    return String(error);
  }
}
