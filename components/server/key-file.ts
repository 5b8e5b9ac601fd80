import { createHash } from "node:crypto";
import { DEFAULT_KEY } from "../settings/keys";
import type { StackSettings } from "../settings/schema";
import { writeServerFile } from "./server-file";

/** The hash of a key, in configuration and server. Keys have 256 random bits, so plain SHA-256 suffices. */
export function keyHash(key: string): string {
  return `sha256:${createHash("sha256").update(key).digest("hex")}`;
}

/** The lines of the key file; docker/gateway/src/keys/key-file.ts reads them. A key comes before the one it replaces. */
export function keyLines({ apiKey, keys }: Pick<StackSettings, "apiKey" | "keys">): string[] {
  const all = [
    ...(apiKey ? [{ id: DEFAULT_KEY, hash: keyHash(apiKey) }] : []),
    ...keys.filter(({ replaced }) => !replaced),
    ...keys.filter(({ replaced }) => replaced),
  ];
  return all.map(({ id, hash, ...rest }) => {
    const { expires, limits, metrics } = rest as Partial<(typeof keys)[number]>;
    // The key that `default` replaces, too, until it expires.
    const operator = id === DEFAULT_KEY || metrics || undefined;
    return JSON.stringify({ id, hash, expires, limits, operator });
  });
}

/** A script that gives a running server these keys. */
export function writeKeys(container: string, lines: string[]): string {
  return writeServerFile(container, "keys", lines.join("\n"));
}
