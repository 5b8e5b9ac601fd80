import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import type { Reporter } from "../setup/report";
import { makeEntry } from "../setup/tools/cache";
import { pins } from "../setup/tools/pins";
import { buildCommandPlugin } from "./command-plugin/build";
import { commandPluginEntry, hashFolder, npmVersion } from "./sources";

/** Name of the stand-in's cache entry, or undefined where its sources are not in this checkout. */
export function standInEntry(entry = commandPluginEntry): string | undefined {
  if (!existsSync(entry)) return undefined;
  const hash = hashFolder(dirname(entry), [
    npmVersion("@pulumi/pulumi"),
    npmVersion("esbuild"),
    "with code cache",
  ]);
  return `${pins.command.name}-${pins.command.version}-${hash}`;
}

/**
 * Bundles the TypeScript stand-in for the command plugin to one file with a launcher beside it.
 *
 * @returns the launcher's path, or undefined where the sources are not there.
 */
export async function bundleStandIn(
  cache: string,
  report: Reporter,
  entry = commandPluginEntry,
): Promise<string | undefined> {
  const name = standInEntry(entry);
  if (!name) return undefined;
  const dir = await makeEntry(cache, name, report, async (temporary) => {
    report.say("• Bundle the stand-in for the command plugin (under a second)");
    await buildCommandPlugin(temporary);
  });
  return join(dir, pins.command.name);
}
