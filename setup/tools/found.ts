import { accessSync, constants, existsSync, readdirSync, realpathSync, statSync } from "node:fs";
import { homedir } from "node:os";
import { delimiter, dirname, join, sep } from "node:path";
import { accepts, kubernetesPlugin, pins } from "./pins";
import type { Extras, ToolName } from "./types";

/** An executable on the machine that may serve, before its version has been asked. */
export interface Candidate {
  name: ToolName;
  path: string;
  /** Known without running it where the folder's name says so (`resource-docker-v5.2.0`). */
  version?: string;
}

/** The folder of the user's own pulumi: `$PULUMI_HOME`, or `~/.pulumi`. One of ours does not count. */
export function userPulumiHome(cache: string, env: NodeJS.ProcessEnv = process.env): string {
  const set = env.PULUMI_HOME;
  return set && !isBelow(set, cache) ? set : join(homedir(), ".pulumi");
}

/**
 * What PATH and the user's pulumi folder hold of the tools, best first. Only the file system is read.
 * Folders of our own cache are passed over: they are on PATH when a command runs inside `npm run pulumi`.
 */
export function findCandidates(
  cache: string,
  env: NodeJS.ProcessEnv = process.env,
  { kubernetes = false }: Extras = {},
): Candidate[] {
  const home = userPulumiHome(cache, env);
  const dirs = [...(env.PATH ?? "").split(delimiter), join(home, "bin")].filter(
    (dir) => dir !== "" && !isBelow(dir, cache),
  );
  const onPath = (name: ToolName): Candidate[] =>
    dirs
      .map((dir) => join(dir, name))
      .filter(isExecutable)
      .map((path) => ({ name, path }));
  const plugins = [pins.docker, pins.command, ...(kubernetes ? [kubernetesPlugin] : [])];
  return [
    // The CLI looks for its language hosts beside its own executable, so one without them is of no use.
    ...onPath("pulumi").filter(({ path }) =>
      isExecutable(join(dirname(realpathSync(path)), pins.language.name)),
    ),
    ...plugins.flatMap((pin) => [...installed(home, pin), ...onPath(pin.name)]),
  ];
}

/** Path, size and age: enough to see that a candidate is still the one whose version was asked. */
export function fingerprint(candidate: Candidate): string {
  const { size, mtimeMs } = statSync(candidate.path);
  return `${candidate.path}:${size}:${mtimeMs}`;
}

/** Plugins that pulumi itself installed, newest first. */
function installed(home: string, pin: { name: ToolName; version: string }): Candidate[] {
  const plugins = join(home, "plugins");
  if (!existsSync(plugins)) return [];
  const prefix = `${pin.name.replace(/^pulumi-/, "")}-v`;
  return readdirSync(plugins)
    .filter((dir) => dir.startsWith(prefix) && accepts(dir.slice(prefix.length), pin.version))
    .sort((a, b) => b.localeCompare(a, "en", { numeric: true }))
    .map((dir) => ({ name: pin.name, path: join(plugins, dir, pin.name), version: dir.slice(prefix.length) }))
    .filter(({ path }) => isExecutable(path));
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}

function isBelow(path: string, dir: string): boolean {
  return path === dir || path.startsWith(dir + sep);
}

/**
 * The first candidate for a tool in an accepted version. Runs `pulumi version` or `<plugin> -version`.
 */
export async function acceptCandidate(
  candidates: readonly Candidate[],
  pin: { name: ToolName; version: string },
): Promise<{ path: string; version: string } | undefined> {
  for (const { name, path, version: known } of candidates) {
    if (name !== pin.name) continue;
    const version = known ?? (await askVersion(name, path));
    if (version && accepts(version, pin.version)) return { path, version: version.replace(/^v/, "") };
  }
  return undefined;
}

async function askVersion(name: ToolName, path: string): Promise<string | undefined> {
  const { execa } = await import("execa");
  const args = name === "pulumi" ? ["version"] : ["-version"];
  const env = { PULUMI_SKIP_UPDATE_CHECK: "true" };
  const result = await execa(path, args, { reject: false, timeout: 10_000, env, stdin: "ignore" });
  return result.exitCode === 0 ? result.stdout.trim().split("\n").at(-1) : undefined;
}
