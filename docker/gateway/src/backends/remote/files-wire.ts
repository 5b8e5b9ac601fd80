import type { Scope } from "../../sandboxes/backend";
import type { FileInfo, FilePath, VolumeFiles } from "../../sandboxes/volume-files";
import type { Served } from "./wire";

/** Files of which volume, in whose turns: null for the server's own; and what its owner may have there, if that is limited. */
export type Folder = { volume: string; scope: Scope; owner: string | null; mostBytes?: number };

/** A path as base64: names of files need not be UTF-8. */
export type SentPath = string;
export const sentPath = (path: FilePath): SentPath => path.toString("base64");
export const pathOf = (path: SentPath): FilePath => Buffer.from(path, "base64");

/** Who works with files that no key has asked for. */
const SERVER = Symbol("another server");

export const filesOf = (
  { backend, signal }: Served,
  { volume, scope, owner, mostBytes }: Folder,
): Promise<VolumeFiles> =>
  backend.volumes.files(volume, scope, { owner: owner ?? SERVER, signal, mostBytes: async () => mostBytes });

type Times = "accessedAt" | "modifiedAt" | "createdAt";
export type SentInfo = Omit<FileInfo, "path" | "target" | Times> & {
  path: SentPath;
  target: SentPath | null;
} & Record<Times, string | null>;

export const sentInfo = (info: FileInfo): SentInfo => ({
  ...info,
  path: sentPath(info.path),
  target: info.target && sentPath(info.target),
  accessedAt: info.accessedAt?.toISOString() ?? null,
  modifiedAt: info.modifiedAt?.toISOString() ?? null,
  createdAt: info.createdAt?.toISOString() ?? null,
});

export const infoOf = (info: SentInfo): FileInfo => ({
  ...info,
  path: pathOf(info.path),
  target: info.target === null ? null : pathOf(info.target),
  accessedAt: dateOf(info.accessedAt),
  modifiedAt: dateOf(info.modifiedAt),
  createdAt: dateOf(info.createdAt),
});

const dateOf = (text: string | null): Date | null => (text === null ? null : new Date(text));
