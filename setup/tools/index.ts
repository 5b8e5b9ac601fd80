import type { Reporter } from "../report";
import { toolsCache } from "./cache";
import { acceptCandidate, type Candidate, findCandidates, fingerprint } from "./found";
import { pins } from "./pins";
import { findCached, resolveClusterTools, resolveTools, sourcesFingerprint } from "./resolve";
import { type Manifest, readSet, setEntry, setEnvironment, writeSet } from "./tool-set";
import type { ClusterToolName, Extras, Origin, ToolName, ToolStatus, Tools } from "./types";
import { noteUse, removeUnused } from "./unused";

export type { ClusterToolName, Extras, Origin, ToolName, ToolStatus, Tools } from "./types";

/**
 * Makes available the pulumi CLI, its Node.js language host, the docker and command plugins and the extras. For each:
 * one on the machine in an accepted version, else the vendor's download (checksum-verified), else built
 * from Go modules pinned by go.sum; for the command plugin, a stand-in bundled from this repository.
 *
 * Everything lands in the per-user cache. With nothing to do it takes a few milliseconds and starts no
 * process. Two runs at once share the work; a broken one leaves nothing half-made.
 *
 * @throws UserError with what to type, where a tool can be had in no way.
 */
export async function ensureTools(report: Reporter, extras: Extras = {}): Promise<Tools> {
  const cache = toolsCache();
  const candidates = findCandidates(cache, process.env, extras);
  const entry = currentSet(candidates, extras);
  const ready = readSet(cache, entry);
  if (ready) {
    noteUse(cache, entry);
    return setEnvironment(cache, entry, ready);
  }

  const tools = await resolveTools({ cache, candidates, extras }, report);
  await writeSet(cache, entry, tools, report);
  for (const [name, tool] of Object.entries(tools)) {
    report.say(`  ${name} ${tool.version}: ${originWords[tool.origin]}`);
  }
  return setEnvironment(cache, entry, tools);
}

/**
 * Makes available programs of a Kubernetes cluster, each in one pinned version: the vendor's download
 * (checksum-verified), else built from Go modules pinned by go.sum. With nothing to do it starts no process.
 *
 * @returns the paths of the executables.
 * @throws UserError with what to type, where one can be had in no way.
 * @example const { etcd } = await ensureClusterTools(["etcd", "kube-apiserver"], report);
 */
export async function ensureClusterTools<Name extends ClusterToolName>(
  names: readonly Name[],
  report: Reporter,
): Promise<Record<Name, string>> {
  return resolveClusterTools({ cache: toolsCache() }, names, report);
}

/** Removes tools of older versions that nothing has used for 30 days, and says so. */
export const removeUnusedTools = (report: Reporter): Promise<string[]> => removeUnused(toolsCache(), report);

/** The programs of an emulated cluster: of its control plane, of its nodes, and kubectl. */
export const emulatedClusterTools = [
  ...(["etcd", "coredns", "kubectl", "kube-apiserver", "kube-controller-manager", "kube-scheduler"] as const),
  ...(["kubelet", "kube-proxy", "containerd", "containerd-shim-runc-v2", "ctr"] as const),
];

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
function currentSet(candidates: readonly Candidate[], extras: Extras = {}): string {
  return setEntry(["layout 1", ...sourcesFingerprint(extras), ...candidates.map(fingerprint)]);
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
