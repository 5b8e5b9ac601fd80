import type { Reporter } from "../report";
import { toolsCache } from "./cache";
import { acceptCandidate, type Candidate, findCandidates, fingerprint } from "./found";
import { pins } from "./pins";
import { findCached, resolveTools, sourcesFingerprint } from "./resolve";
import { type Manifest, readSet, setEntry, setEnvironment, writeSet } from "./tool-set";
import type { Origin, ToolName, ToolStatus, Tools } from "./types";

export type { Origin, ToolName, ToolStatus, Tools } from "./types";

/**
 * Makes available the pulumi CLI, its Node.js language host and the docker and command plugins. For each:
 * one on the machine in an accepted version, else the vendor's download (checksum-verified), else built
 * from Go modules pinned by go.sum; for the command plugin, a stand-in bundled from this repository.
 *
 * Everything lands in the per-user cache. With nothing to do it takes a few milliseconds and starts no
 * process. Two runs at once share the work; a broken one leaves nothing half-made.
 *
 * @throws UserError with what to type, where a tool can be had in no way.
 */
export async function ensureTools(report: Reporter): Promise<Tools> {
  const cache = toolsCache();
  const candidates = findCandidates(cache);
  const entry = currentSet(candidates);
  const ready = readSet(cache, entry);
  if (ready) return setEnvironment(cache, entry, ready);

  const tools = await resolveTools({ cache, candidates }, report);
  await writeSet(cache, entry, tools, report);
  for (const [name, tool] of Object.entries(tools)) {
    report.say(`  ${name} ${tool.version}: ${originWords[tool.origin]}`);
  }
  return setEnvironment(cache, entry, tools);
}

/** Tells for each tool whether it is there and what would be done if not. Changes nothing. */
export async function inspectTools(): Promise<ToolStatus[]> {
  const cache = toolsCache();
  const candidates = findCandidates(cache);
  const ready = readSet(cache, currentSet(candidates));
  if (ready) return Object.values(pins).map((pin) => statusOf(pin.name, pin.version, ready));
  return Promise.all(Object.values(pins).map((pin) => statusWithoutSet(cache, candidates, pin)));
}

const originWords: Record<Origin, string> = {
  path: "found on this machine",
  official: "downloaded from the vendor, checksum verified",
  built: "built from pinned Go modules",
  "stand-in": "the stand-in from this repository",
};

/** A set stands for all that decides which tools are used: the sources, the pins and what the machine has. */
function currentSet(candidates: readonly Candidate[]): string {
  return setEntry(["layout 1", ...sourcesFingerprint(), ...candidates.map(fingerprint)]);
}

function statusOf(name: ToolName, version: string, tools: Manifest): ToolStatus {
  const tool = tools[name];
  if (tool)
    return {
      name,
      version: tool.version,
      present: true,
      where: `${tool.path} (${originWords[tool.origin]})`,
    };
  return { name, version, present: false, where: "not in this checkout", remedy: "npm run setup" };
}

async function statusWithoutSet(
  cache: string,
  candidates: readonly Candidate[],
  pin: { name: ToolName; version: string },
): Promise<ToolStatus> {
  const { name, version } = pin;
  // The language host belongs to its pulumi, and no version can be asked of it.
  const asked = name === pins.language.name ? pins.pulumi : pin;
  const found = await acceptCandidate(candidates, asked);
  if (found) return { name, version: found.version, present: true, where: found.path };
  const cached = findCached(cache, name);
  if (cached) return { name, version, present: true, where: cached };
  const where = "missing: will be downloaded from the vendor or built (up to 10 minutes the first time)";
  return { name, version, present: false, where, remedy: "npm run setup" };
}
