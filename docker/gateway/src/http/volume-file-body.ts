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

/** Characters of an answer that are made at once: a long list must not hold the event loop. */
const TEXT_AT_ONCE = 64 * 1024;

/** The answer to a list, in pieces. @param parts of it, the first of which has come */
export async function* fileListOf(
  first: FileInfo[],
  parts: AsyncIterable<FileInfo[]>,
): AsyncGenerator<string> {
  let text = '{"entries":[';
  let comma = "";
  async function* all() {
    yield first;
    yield* parts;
  }
  for await (const infos of all())
    for (const info of infos) {
      text += comma + JSON.stringify(fileBodyOf(info));
      comma = ",";
      if (text.length < TEXT_AT_ONCE) continue;
      yield text;
      text = "";
    }
  yield `${text}]}`;
}
