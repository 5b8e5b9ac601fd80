import { createHash } from "node:crypto";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";

/** Folders of the build context that the image does not hold; the same as in docker/.dockerignore. */
const ignored = new Set(["node_modules", "dist"]);

/**
 * SHA-256 over the names, modes and bytes of all files below a folder: the same wherever the checkout is.
 * The engine does not tell whether a context has changed; an image is built anew when this has.
 */
export function contextHash(folder: string): string {
  const hash = createHash("sha256");
  for (const path of filesBelow(folder)) {
    const file = join(folder, path);
    const content = readFileSync(file);
    hash.update(`${path}\0${statSync(file).mode & 0o111 ? "x" : "-"}\0${content.length}\0`).update(content);
  }
  return hash.digest("hex");
}

function filesBelow(folder: string, prefix = ""): string[] {
  return readdirSync(join(folder, prefix), { withFileTypes: true })
    .filter((entry) => !ignored.has(entry.name))
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .flatMap((entry) =>
      entry.isDirectory() ? filesBelow(folder, join(prefix, entry.name)) : [join(prefix, entry.name)],
    );
}
