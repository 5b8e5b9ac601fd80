import { createHash } from "node:crypto";

type Json = null | number | string | Json[] | { [name: string]: Json };

/** Fields in the order of the contract's schema, by the path of their object; labels have none. */
const ORDER: Record<string, string[]> = {
  "": [
    ...["schema", "artifact", "scope", "created_at", "parent", "image", "source_sandbox", "state", "labels"],
    ...["extensions", "requires"],
  ],
  image: ["ref", "manifest_digest"],
  state: ["kind", "format", "fstype", "upper"],
  "state.upper": ["file", "size_bytes", "integrity"],
  "state.upper.integrity": ["algorithm", "digest"],
};

/** The digest of a manifest, computed from its wire form by another way than the server's: bytes, escaped one by one. */
export function standIn(manifest: Json): string {
  return `sha256:${createHash("sha256")
    .update(Buffer.concat(bytesOf(manifest, "")))
    .digest("hex")}`;
}

function bytesOf(value: Json, path: string): Buffer[] {
  if (typeof value === "string") return [textOf(value)];
  if (value === null || typeof value === "number") return [Buffer.from(String(value))];
  if (Array.isArray(value)) return [Buffer.from("[]")];
  const names = ORDER[path] ?? byBytes(Object.keys(value));
  const parts = names.flatMap((name, index) => [
    Buffer.from(index === 0 ? "" : ","),
    textOf(name),
    Buffer.from(":"),
    ...bytesOf(value[name] as Json, path === "" ? name : `${path}.${name}`),
  ]);
  return [Buffer.from("{"), ...parts, Buffer.from("}")];
}

/** By the bytes of UTF-8, which is by code points. */
const byBytes = (names: string[]) =>
  names
    .map((name) => Array.from(name, (letter) => letter.codePointAt(0) ?? 0))
    .sort((a, b) => {
      for (let at = 0; at < Math.min(a.length, b.length); at++) {
        const difference = (a[at] ?? 0) - (b[at] ?? 0);
        if (difference !== 0) return difference;
      }
      return a.length - b.length;
    })
    .map((points) => String.fromCodePoint(...points));

const SHORT = new Map([
  ...([
    [8, "b"],
    [9, "t"],
    [10, "n"],
    [12, "f"],
    [13, "r"],
    [34, '"'],
    [92, "\\"],
  ] as const),
]);

/** As serde writes a string. */
function textOf(text: string): Buffer {
  const bytes = [...Buffer.from(text, "utf8")].flatMap((byte) => {
    const short = SHORT.get(byte as 8);
    if (short !== undefined) return [0x5c, short.charCodeAt(0)];
    if (byte < 0x20) return [...Buffer.from(`\\u${byte.toString(16).padStart(4, "0")}`)];
    return [byte];
  });
  return Buffer.from([0x22, ...bytes, 0x22]);
}
