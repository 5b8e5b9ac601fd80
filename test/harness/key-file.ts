import { createHash } from "node:crypto";
import { renameSync, writeFileSync } from "node:fs";

/** A key as a line of the server's key file tells of it; `key` is the key itself, of which only the hash is written. */
export type KeyLine = {
  id: string;
  key: string;
  expires?: string;
  limits?: Record<string, number>;
  operator?: boolean;
};

/** Replaces a key file in one step, as the deployment does. */
export function writeKeyFile(path: string, keys: KeyLine[]): void {
  const lines = keys.map(({ key, ...rest }) => JSON.stringify({ ...rest, hash: `sha256:${hashOf(key)}` }));
  writeFileSync(`${path}.new`, `${lines.join("\n")}\n`, { mode: 0o400 });
  renameSync(`${path}.new`, path);
}

/** SHA-256 in hexadecimal digits. */
export const hashOf = (key: string): string => createHash("sha256").update(key).digest("hex");
