import { existsSync, statSync, utimesSync } from "node:fs";
import { readdir, readFile, rm } from "node:fs/promises";
import { join, relative } from "node:path";
import type { Reporter } from "../report";

const DAY = 24 * 3_600_000;
/** Days without a use after which an older version goes. */
const KEPT_DAYS = 30;

/** Notes the use of an entry: once a day, as its time of change. */
export function noteUse(cache: string, entry: string, now = Date.now()): void {
  try {
    const path = join(cache, entry);
    if (now - statSync(path).mtimeMs > DAY) utimesSync(path, now / 1000, now / 1000);
  } catch {
    // In a cache that can't be written nothing is removed either.
  }
}

/**
 * Removes tools of older versions that nothing has used for 30 days, and says so. Of each tool the last used version stays,
 * and so does what a set of tools in use is made of.
 *
 * @returns the entries that went
 */
export async function removeUnused(cache: string, report: Reporter, now = Date.now()): Promise<string[]> {
  if (!existsSync(cache)) return [];
  const entries = (await readdir(cache))
    .filter((name) => toolOf(name) !== undefined)
    .map((name) => ({ name, tool: toolOf(name), used: statSync(join(cache, name)).mtimeMs }))
    .sort((a, b) => b.used - a.used);
  const old = entries.filter(
    ({ tool, used }, index) =>
      now - used > KEPT_DAYS * DAY && entries.findIndex((other) => other.tool === tool) < index,
  );
  const unused = new Set(old.map(({ name }) => name));
  for (const { name } of entries)
    if (name.startsWith("set-") && !unused.has(name))
      for (const part of await partsOf(cache, name)) unused.delete(part);
  const removed = [...unused].sort();
  for (const name of removed) await rm(join(cache, name), { recursive: true, force: true });
  if (removed.length > 0)
    report.say(`Removed from ${cache}, unused for ${KEPT_DAYS} days: ${removed.join(", ")}`);
  return removed;
}

/** The tool of an entry; undefined for what is no entry, or not finished. @example "pulumi" of "pulumi-3.259.0-official" */
function toolOf(entry: string): string | undefined {
  if (entry.startsWith(".") || entry.includes(".tmp-")) return undefined;
  return /^(set)-[0-9a-f]{16}$/.exec(entry)?.[1] ?? /^([a-z0-9-]+?)-\d+\.\d+\.\d+/.exec(entry)?.[1];
}

/** The entries that a set of tools is made of. */
async function partsOf(cache: string, set: string): Promise<string[]> {
  try {
    const tools: Record<string, { path?: string }> = JSON.parse(
      await readFile(join(cache, set, "tools.json"), "utf8"),
    );
    return Object.values(tools).map(({ path = "" }) => relative(cache, path).split("/")[0] ?? "");
  } catch {
    return [];
  }
}
