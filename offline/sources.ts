import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join, relative, sep } from "node:path";
import { projectRoot } from "../setup/project";

/** Where the pinned Go modules are. */
export const goRoot = join(__dirname, "go");
/** Entry of the command plugin's stand-in. */
export const commandPluginEntry = join(__dirname, "command-plugin", "main.ts");

/** Hash of a folder's files (names and contents, tests left out), so that a change of a source makes a new tool. */
export function hashFolder(dir: string, extra: readonly string[] = []): string {
  const hash = createHash("sha256");
  for (const file of filesBelow(dir)) {
    hash
      .update(`${relative(dir, file).split(sep).join("/")}\0`)
      .update(readFileSync(file))
      .update("\0");
  }
  for (const part of extra) hash.update(`${part}\0`);
  return hash.digest("hex").slice(0, 12);
}

function filesBelow(dir: string): string[] {
  const entries = readdirSync(dir, { withFileTypes: true }).sort((a, b) => (a.name < b.name ? -1 : 1));
  return entries.flatMap((entry) => {
    const path = join(dir, entry.name);
    if (entry.isDirectory()) return filesBelow(path);
    return /(_test\.go|\.test\.ts)$/.test(entry.name) ? [] : [path];
  });
}

/** Version of an installed npm package, or "absent". It is read, not required: exports maps hide package.json. */
export function npmVersion(name: string): string {
  const file = join(projectRoot, "node_modules", name, "package.json");
  if (!existsSync(file)) return "absent";
  return (JSON.parse(readFileSync(file, "utf8")) as { version: string }).version;
}
