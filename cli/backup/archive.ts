import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { type FileHandle, open, rename, rm } from "node:fs/promises";
import { Readable } from "node:stream";
import { UserError } from "../../setup/user-error";
import { cannotRead, cannotWrite } from "../file-errors";
import { type Manifest, manifestSchema } from "./manifest";

/**
 * A backup is an ordinary tar file with these entries in this order. The volumes come first, so that they can be
 * written as they arrive; the manifest, which has their hashes, follows, and then its own hash.
 */
export const volumeEntries = ["state.tar.zst", "workspace.tar.zst"] as const;
export type VolumeEntry = (typeof volumeEntries)[number];
const manifestEntry = "manifest.json";
const manifestHashEntry = "manifest.json.sha256";

const BLOCK = 512;
/** Two empty blocks end a tar file. */
const END = Buffer.alloc(2 * BLOCK);

/** Size and hash of what was written. */
export interface Written {
  bytes: number;
  sha256: string;
}

/** Writes a backup beside its file, and puts it in place when it is whole. */
export class ArchiveWriter {
  private position = 0;

  private constructor(
    private readonly path: string,
    private readonly file: FileHandle,
  ) {}

  /** @throws UserError where the file exists or can't be made */
  static async open(path: string): Promise<ArchiveWriter> {
    try {
      // Creates the file first (mode 0600), so that a wrong path fails before the server is stopped.
      await (await open(path, "wx", 0o600)).close();
      return new ArchiveWriter(path, await open(`${path}.partial`, "w", 0o600));
    } catch (error) {
      throw cannotWrite(path, error, "the name of a new file");
    }
  }

  /** Adds the content of a stream of unknown length. */
  async add(name: string, source: Readable, progress: (bytes: number) => void): Promise<Written> {
    const start = this.position;
    this.position += BLOCK;
    const hash = createHash("sha256");
    let bytes = 0;
    for await (const chunk of source) {
      hash.update(chunk);
      await this.append(chunk);
      bytes += chunk.length;
      progress(bytes);
    }
    await this.append(padding(bytes));
    await this.file.write(header(name, bytes), 0, BLOCK, start);
    return { bytes, sha256: hash.digest("hex") };
  }

  /** Adds the manifest and its hash, and puts the file in place. */
  async finish(manifest: Manifest): Promise<void> {
    const text = `${JSON.stringify(manifest, null, 2)}\n`;
    for (const [name, content] of [
      [manifestEntry, text],
      [manifestHashEntry, `${sha256(text)}  ${manifestEntry}\n`],
    ] as const) {
      const data = Buffer.from(content);
      for (const part of [header(name, data.length), data, padding(data.length)]) await this.append(part);
    }
    await this.append(END);
    await this.file.sync();
    await this.file.close();
    await rename(`${this.path}.partial`, this.path);
  }

  /** Removes the partial file. */
  async discard(): Promise<void> {
    await this.file.close().catch(() => undefined);
    for (const path of [this.path, `${this.path}.partial`]) await rm(path, { force: true });
  }

  private async append(data: Buffer): Promise<void> {
    for (let done = 0; done < data.length; ) {
      const { bytesWritten } = await this.file.write(data, done, data.length - done, this.position);
      done += bytesWritten;
      this.position += bytesWritten;
    }
  }
}

/** A verified backup. */
export interface Archive {
  manifest: Manifest;
  /** Reads one volume's entry. */
  read(name: VolumeEntry): Readable;
}

/**
 * Reads a backup from its first byte to its last and checks every one of them.
 *
 * @throws UserError where it is truncated, altered or no backup at all
 */
export async function verifyArchive(path: string, progress: (bytes: number) => void): Promise<Archive> {
  const refuse = (error: unknown): never => {
    throw cannotRead(path, error, "a file written by npm run backup");
  };
  const file = await open(path, "r").catch(refuse);
  try {
    // A folder can be opened, too.
    await file.read(Buffer.alloc(1), 0, 1, 0).catch(refuse);
    const broken = (why: string) =>
      new UserError(`${path} is not an intact backup: ${why}.\nNothing was changed. Use another one.`);
    const reader = new Reader(file, broken, progress);
    const places = new Map<string, { offset: number; written: Written }>();
    for (const name of volumeEntries) places.set(name, await reader.skip(name));
    const text = await reader.text(manifestEntry);
    const hash = await reader.text(manifestHashEntry);
    await reader.end();
    if (hash !== `${sha256(text)}  ${manifestEntry}\n`)
      throw broken("its manifest differs from its checksum");
    const manifest = parseManifest(text, broken);
    for (const name of volumeEntries) {
      if (places.get(name)?.written.sha256 !== manifest.files[name].sha256)
        throw broken(`${name} differs from its checksum`);
    }
    const read = (name: VolumeEntry) => {
      const { offset = 0, written } = places.get(name) ?? {};
      const bytes = written?.bytes ?? 0;
      if (bytes === 0) return Readable.from([]);
      return createReadStream(path, { start: offset, end: offset + bytes - 1 });
    };
    return { manifest, read };
  } finally {
    await file.close();
  }
}

function parseManifest(text: string, broken: (why: string) => UserError): Manifest {
  const { format } = JSON.parse(text);
  if (format !== 1) throw broken(`its format is ${format}, this version of the project knows format 1`);
  return manifestSchema.parse(JSON.parse(text));
}

/** Reads the entries of a backup one after the other. */
class Reader {
  private position = 0;

  constructor(
    private readonly file: FileHandle,
    private readonly broken: (why: string) => UserError,
    private readonly progress: (bytes: number) => void,
  ) {}

  /** Hashes an entry of any size. */
  async skip(name: string): Promise<{ offset: number; written: Written }> {
    const bytes = await this.start(name);
    const offset = this.position;
    const hash = createHash("sha256");
    for (let left = bytes; left > 0; ) {
      const chunk = await this.take(Math.min(left, 1024 * 1024));
      hash.update(chunk);
      left -= chunk.length;
      this.progress(this.position);
    }
    await this.zeros(padding(bytes).length);
    return { offset, written: { bytes, sha256: hash.digest("hex") } };
  }

  async text(name: string): Promise<string> {
    const bytes = await this.start(name);
    if (bytes > 1024 * 1024) throw this.broken(`${name} is too long`);
    const text = (await this.take(bytes)).toString("utf8");
    await this.zeros(padding(bytes).length);
    return text;
  }

  async end(): Promise<void> {
    await this.zeros(END.length);
    const { size } = await this.file.stat();
    if (size !== this.position) throw this.broken("something follows its end");
  }

  /** Checks an entry's header and returns the entry's size. */
  private async start(name: string): Promise<number> {
    const found = await this.take(BLOCK);
    const bytes = sizeIn(found);
    if (!found.equals(header(name, bytes))) throw this.broken(`${name} is not where it should be`);
    return bytes;
  }

  private async zeros(length: number): Promise<void> {
    if ((await this.take(length)).some((byte) => byte !== 0)) throw this.broken("it was altered");
  }

  private async take(length: number): Promise<Buffer> {
    const buffer = Buffer.alloc(length);
    for (let done = 0; done < length; ) {
      const { bytesRead } = await this.file.read(buffer, done, length - done, this.position);
      if (bytesRead === 0) throw this.broken("it is truncated");
      done += bytesRead;
      this.position += bytesRead;
    }
    return buffer;
  }
}

/** A tar header as POSIX defines it (ustar); sizes of 8 GiB and more in GNU's binary form, which all tars read. */
export function header(name: string, size: number): Buffer {
  const block = Buffer.alloc(BLOCK);
  const octal = (value: number, length: number, at: number) =>
    block.write(`${value.toString(8).padStart(length - 1, "0")}\0`, at, "latin1");
  block.write(name, 0, "latin1");
  octal(0o600, 8, 100);
  octal(0, 8, 108);
  octal(0, 8, 116);
  if (size < 8 ** 11) octal(size, 12, 124);
  else {
    block[124] = 0x80;
    block.writeBigUInt64BE(BigInt(size), 128);
  }
  octal(0, 12, 136);
  block.write("        0", 148, "latin1");
  block.write("ustar\x0000", 257, "latin1");
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148, "latin1");
  return block;
}

/** The size in a header; 0 where there is none to be read. */
export function sizeIn(block: Buffer): number {
  if (block[124] === 0x80) return Number(block.readBigUInt64BE(128) % 2n ** 52n);
  const text = block.toString("latin1", 124, 135);
  return /^[0-7]{11}$/.test(text) ? Number.parseInt(text, 8) : 0;
}

const padding = (bytes: number): Buffer => Buffer.alloc((BLOCK - (bytes % BLOCK)) % BLOCK);
const sha256 = (text: string): string => createHash("sha256").update(text).digest("hex");
