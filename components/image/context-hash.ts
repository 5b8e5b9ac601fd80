import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import { certificatesFile } from "./deployer-certificates";
import { proxyFile } from "./deployer-proxy";

/** Files of the building machine that do not become part of the image. */
const deployersOwn = [certificatesFile, proxyFile];

/**
 * SHA-256 over the names and contents of all files that a build gets from a folder, according to its .dockerignore. It does
 * not depend on the path of the checkout, editor files, or file modes. An image is built again if this hash changes.
 */
export function contextHash(folder: string): string {
  const hash = createHash("sha256");
  const isSent = dockerignore(folder);
  for (const { path, isLink } of filesBelow(folder)) {
    if (!isSent(path) || deployersOwn.includes(path)) continue;
    const file = join(folder, path);
    const content = isLink ? Buffer.from(readlinkSync(file)) : readFileSync(file);
    hash.update(`${path}\0${isLink ? "l" : "f"}\0${content.length}\0`).update(content);
  }
  return hash.digest("hex");
}

function filesBelow(folder: string, prefix = ""): { path: string; isLink: boolean }[] {
  return readdirSync(join(folder, prefix), { withFileTypes: true })
    .filter((entry) => entry.name !== "node_modules")
    .filter((entry) => entry.isDirectory() || entry.isFile() || entry.isSymbolicLink())
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .flatMap((entry) => {
      const path = prefix ? `${prefix}/${entry.name}` : entry.name;
      return entry.isDirectory() ? filesBelow(folder, path) : [{ path, isLink: entry.isSymbolicLink() }];
    });
}

/** Whether the engine gets a file: the last rule counts that matches it or a folder that it is in. */
function dockerignore(folder: string): (path: string) => boolean {
  const file = join(folder, ".dockerignore");
  const rules = (existsSync(file) ? readFileSync(file, "utf8").split("\n") : [])
    .map((line) => line.trim())
    .filter((line) => line !== "" && !line.startsWith("#"))
    .map((line) => ({ sent: line.startsWith("!"), matches: pattern(line.replace(/^!/, "")) }));
  return (path) =>
    path === "Dockerfile" || (rules.findLast(({ matches }) => matches.test(path))?.sent ?? true);
}

/** A pattern of .dockerignore, as far as ours go: names, `*` within one and `**` for any folders before it. */
function pattern(text: string): RegExp {
  const source = text
    .replace(/[.+^${}()|[\]\\]/g, "\\$&")
    .replace(/\*\*\/|\*/g, (stars) => (stars === "*" ? "[^/]*" : "(?:.*/)?"));
  return new RegExp(`^${source}(?:/|$)`);
}
