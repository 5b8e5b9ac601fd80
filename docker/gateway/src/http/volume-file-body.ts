import { isUtf8 } from "node:buffer";
import type { FileInfo } from "../sandboxes/volume-files";
import type { FileBody } from "./schema/volume";

/** A file in the form of the contract, with what it has no words for beside it. */
export function fileBodyOf(info: FileInfo): FileBody {
  return {
    path: info.path.toString("utf8"),
    ...(isUtf8(info.path) ? {} : { path_base64: info.path.toString("base64url") }),
    kind: info.type === "directory" ? "directory" : "file",
    type: info.type,
    ...(info.target ? { target: info.target.toString("utf8") } : {}),
    size: info.size,
    mode: info.mode,
    uid: info.uid,
    gid: info.gid,
    readonly: (info.mode & 0o222) === 0,
    accessed_at: info.accessedAt?.toISOString() ?? null,
    modified_at: info.modifiedAt?.toISOString() ?? null,
    created_at: info.createdAt?.toISOString() ?? null,
  };
}

/** Entries that are made into text at once: a long list must not hold the event loop. */
const ENTRIES_AT_ONCE = 500;

/** The answer to a list, in pieces. */
export function* fileListOf(infos: FileInfo[]): Generator<string> {
  yield '{"entries":[';
  for (let from = 0; from < infos.length; from += ENTRIES_AT_ONCE) {
    const text = JSON.stringify(infos.slice(from, from + ENTRIES_AT_ONCE).map(fileBodyOf));
    yield `${from > 0 ? "," : ""}${text.slice(1, -1)}`;
  }
  yield "]}";
}
