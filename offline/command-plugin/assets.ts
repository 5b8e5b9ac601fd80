import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { globToRegExp } from "./glob";
import { assetArchive, contentHash, fileAsset, type Properties } from "./properties";

/**
 * Finds files under a directory by globs, evaluated in order; one that starts with `!` takes out again what
 * the ones before it brought in.
 *
 * @returns assets by path, relative to the directory and with `/` on every platform
 */
export async function collectAssets(directory: string, globs: readonly string[]): Promise<Properties> {
  const rules = globs.map((glob) => ({
    exclude: glob.startsWith("!"),
    pattern: globToRegExp(glob.replace(/^!/, "")),
  }));
  const assets: Properties = {};
  for (const path of await listFiles(directory)) {
    const last = rules.findLast((rule) => rule.pattern.test(path));
    if (!last || last.exclude) continue;
    const file = join(directory, path);
    if ((await stat(file)).isFile()) assets[path] = fileAsset(file, await hashFile(file));
  }
  return assets;
}

/** One archive of what {@link collectAssets} finds. */
export async function collectArchive(directory: string, globs: readonly string[]): Promise<Properties> {
  const assets = await collectAssets(directory, globs);
  const hash = createHash("sha256");
  for (const [path, asset] of Object.entries(assets)) hash.update(JSON.stringify([path, contentHash(asset)]));
  return assetArchive(assets, hash.digest("hex"));
}

async function listFiles(directory: string, prefix = ""): Promise<string[]> {
  const entries = await readdir(join(directory, prefix), { withFileTypes: true });
  entries.sort((a, b) => (a.name < b.name ? -1 : 1));
  const paths: string[] = [];
  for (const entry of entries) {
    const path = prefix + entry.name;
    if (entry.isDirectory()) paths.push(...(await listFiles(directory, `${path}/`)));
    else paths.push(path);
  }
  return paths;
}

async function hashFile(file: string): Promise<string> {
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(file)) hash.update(chunk);
  return hash.digest("hex");
}
