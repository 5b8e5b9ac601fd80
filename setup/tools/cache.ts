import { randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, readdir, rename, rm, writeFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import type { Reporter } from "../report";
import { noteUse } from "./unused";

/** The tools' part of the per-user cache: `${XDG_CACHE_HOME:-~/.cache}/microsandbox-stack/tools`. */
export function toolsCache(env: NodeJS.ProcessEnv = process.env): string {
  return join(env.XDG_CACHE_HOME || join(homedir(), ".cache"), "microsandbox-stack", "tools");
}

/**
 * Makes `<cache>/<entry>` unless it is there and sound, and returns its path.
 *
 * `make` fills a temporary folder beside it, which is renamed only once it is complete: a failure, a Ctrl-C
 * or a power cut leaves nothing that looks like a finished entry. A lock per entry makes a second process
 * wait for the first and then find its result.
 *
 * @param isSound - tells whether an entry that exists may be used; it is made anew where not. Default: always.
 * @throws whatever `make` throws; the temporary folder is removed first.
 */
export async function makeEntry(
  cache: string,
  entry: string,
  report: Reporter,
  make: (dir: string) => Promise<void>,
  isSound: () => boolean = () => true,
): Promise<string> {
  const finished = join(cache, entry);
  const isReady = () => existsSync(finished) && isSound();
  if (isReady()) {
    noteUse(cache, entry);
    return finished;
  }
  await mkdir(cache, { recursive: true });
  const release = await lockEntry(cache, entry, report);
  try {
    if (isReady()) return finished;
    await removeLeftovers(cache, entry);
    const temporary = join(cache, `${entry}.tmp-${randomBytes(4).toString("hex")}`);
    await mkdir(temporary);
    try {
      await make(temporary);
      await rm(finished, { recursive: true, force: true });
      await rename(temporary, finished);
    } finally {
      await rm(temporary, { recursive: true, force: true });
    }
    return finished;
  } finally {
    // Another process may have taken over the lock of one that was suspended for long.
    await release().catch(() => undefined);
  }
}

/** What a killed process left. The lock is held, so nobody is still working in such a folder. */
async function removeLeftovers(cache: string, entry: string): Promise<void> {
  for (const name of await readdir(cache)) {
    if (name.startsWith(`${entry}.tmp-`)) await rm(join(cache, name), { recursive: true, force: true });
  }
}

async function lockEntry(cache: string, entry: string, report: Reporter): Promise<() => Promise<void>> {
  // Loaded only here: a run that finds everything in place should not pay for it.
  const { default: lockfile } = await import("proper-lockfile");
  const target = join(cache, `.lock-${entry}`);
  await writeFile(target, "", { flag: "a" });
  // The holder touches its lock every 5 s, so one untouched for 20 s belongs to a dead process.
  // Work of one that lost its lock all the same (a suspended machine) is harmless: it has its own folder.
  const options = { stale: 20_000, update: 5_000, realpath: false, onCompromised: () => undefined };
  let announced = false;
  for (;;) {
    try {
      return await lockfile.lock(target, options);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ELOCKED") throw error;
      if (!announced) report.say(`Another run is making ${entry}; waiting for it.`);
      announced = true;
      await new Promise((wake) => setTimeout(wake, 250));
    }
  }
}
