import type { Readable } from "node:stream";

export const GIB = 1024 ** 3;

/** A path below a volume's root, as the bytes that the file system knows: names need not be UTF-8. */
export type FilePath = Buffer;

export type FileType =
  | "file"
  | "directory"
  | "symlink"
  | "fifo"
  | "socket"
  | "character_device"
  | "block_device";

/** A file as a guest sees it that mounts the volume. */
export type FileInfo = {
  /** From the volume's root, beginning with a slash. */
  path: FilePath;
  type: FileType;
  /** Bytes; of a symbolic link: those of its target's name. */
  size: number;
  /** The twelve bits of permissions, without those of the type. */
  mode: number;
  /** Of a file that no guest made or changed: 0, for whichever user the guest itself runs as. */
  uid: number;
  gid: number;
  /** Where a symbolic link points to; null for all else. */
  target: Buffer | null;
  /** Null where the time is none, or can't be said in four digits of years. */
  accessedAt: Date | null;
  modifiedAt: Date | null;
  createdAt: Date | null;
};

/** Who works with files: what is done is done in the owner's turns, and given up when the signal aborts. */
export type FileCaller = {
  owner: string | symbol;
  signal?: AbortSignal;
  /** Bytes that this owner may have in volumes of the backend, as far as others know. @throws ServiceError unavailable */
  mostBytes?: () => Promise<number | undefined>;
};

export type WriteOptions = {
  /** Bytes that the file may have at most. */
  maxBytes?: number;
};

/**
 * The files of one volume. No method follows a symbolic link, in whatever part of a path.
 *
 * All throw a ServiceError: `fileNotFound`; `noCapacity` where the volume's owner may write no more; `invalidPath` for a path that leads out of the volume, has a part that is no
 * folder, or can't be used so; `diskFull`; `unavailable` where the server is short of something for a moment.
 */
export interface VolumeFiles {
  /**
   * What is in a folder, in no order, in parts: whatever the folder's size, no more than one part is in memory. What is
   * wrong with the path is thrown before the first part, which comes also where there is nothing.
   * @throws ServiceError invalidPath above {@link MAX_ENTRIES} entries
   */
  list(path: FilePath): AsyncGenerator<FileInfo[]>;
  stat(path: FilePath): Promise<FileInfo>;
  /** Whether something is there. No error for a path below a file. */
  exists(path: FilePath): Promise<boolean>;
  /** A file's content, up to the size that it has now. Destroy it if it is not read to its end. */
  read(path: FilePath): Promise<{ size: number; content: Readable }>;
  /**
   * Writes a file, and makes the folders above it. Readers see the old content or all of the new one, after a crash
   * too; an old file's mode, owner and attributes are kept. Nothing is left where it fails. The content's own errors
   * are passed on.
   * @throws ServiceError tooLarge
   */
  write(path: FilePath, content: AsyncIterable<Uint8Array>, options?: WriteOptions): Promise<void>;
  /** Makes a folder and those above it; one that is there is no error. */
  mkdir(path: FilePath): Promise<void>;
  /** Copies a file with its mode, owner and attributes, as {@link write} writes one. */
  copy(from: FilePath, to: FilePath): Promise<void>;
  rename(from: FilePath, to: FilePath): Promise<void>;
  /** Removes a file or an empty folder, or with `recursive` whatever is there. Works on a full disk. */
  remove(path: FilePath, options: { recursive: boolean }): Promise<void>;
}

/** Entries of a folder that can be listed. */
export const MAX_ENTRIES = 100_000;
