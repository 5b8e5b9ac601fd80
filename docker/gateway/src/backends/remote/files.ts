import type { FileCaller, FileInfo, FilePath, VolumeFiles, WriteOptions } from "../../sandboxes/volume-files";
import type { Connection } from "./connection";
import { type Folder, infoOf, sentPath } from "./files-wire";
import { readFile, writeFile } from "./transfers";

/** The files of a volume of another gateway. */
export class RemoteFiles implements VolumeFiles {
  constructor(
    private readonly connection: Connection,
    private readonly folder: Folder,
    private readonly caller: Pick<FileCaller, "signal" | "mostBytes">,
  ) {}

  async *list(path: FilePath): AsyncGenerator<FileInfo[]> {
    const signal = this.signal ?? new AbortController().signal;
    for await (const part of this.connection.lines("files.list", [this.folder, sentPath(path)], signal))
      yield part.map(infoOf);
    // A list that was given up must not look like a whole one.
    if (signal.aborted) this.connection.fail(signal.reason, signal);
  }

  stat = async (path: FilePath) =>
    infoOf(await this.connection.call("files.stat", [this.folder, sentPath(path)], this.signal));
  exists = (path: FilePath) =>
    this.connection.call("files.exists", [this.folder, sentPath(path)], this.signal);
  mkdir = async (path: FilePath) =>
    this.connection.call("files.mkdir", [await this.writable(), sentPath(path)], this.signal);
  copy = async (from: FilePath, to: FilePath) =>
    this.connection.call("files.copy", [await this.writable(), sentPath(from), sentPath(to)], this.signal);
  rename = (from: FilePath, to: FilePath) =>
    this.connection.call("files.rename", [this.folder, sentPath(from), sentPath(to)], this.signal);
  remove = (path: FilePath, options: { recursive: boolean }) =>
    this.connection.call("files.remove", [this.folder, sentPath(path), options], this.signal);

  read = (path: FilePath) => readFile(this.connection, this.folder, sentPath(path), this.signal);
  write = async (path: FilePath, content: AsyncIterable<Uint8Array>, options: WriteOptions = {}) =>
    writeFile(this.connection, [await this.writable(), sentPath(path), options], content, this.signal);

  private get signal() {
    return this.caller.signal;
  }

  private async writable(): Promise<Folder> {
    return { ...this.folder, mostBytes: await this.caller.mostBytes?.() };
  }
}
