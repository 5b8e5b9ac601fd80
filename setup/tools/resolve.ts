import { existsSync, realpathSync } from "node:fs";
import { join } from "node:path";
import {
  buildTool,
  builtEntry,
  bundleStandIn,
  clusterRecipes,
  findBuilt,
  type GoBuilder,
  goRecipes,
  kubernetesPluginRecipe,
  standInEntry,
} from "../../offline";
import type { Reporter } from "../report";
import { UserError } from "../user-error";
import { type ClusterRelease, clusterRelease } from "./cluster-releases";
import { acceptCandidate, type Candidate } from "./found";
import {
  ChecksumMismatch,
  download,
  type OfficialRelease,
  officialEntry,
  officialReleases,
  Unreachable,
} from "./official";
import { kubernetesPlugin, pins } from "./pins";
import { languageBeside, type Manifest, officialPulumi, type ResolvedTool } from "./tool-set";
import type { ClusterToolName, Extras, ToolName } from "./types";

/** What the search for tools works with; tests put their own in. */
export interface ResolveContext {
  cache: string;
  candidates: readonly Candidate[];
  extras?: Extras;
  releases?: ReturnType<typeof officialReleases>;
  build?: GoBuilder;
  standInEntry?: string;
}

/**
 * Finds or makes every tool: on the machine, else in the cache, else the vendor's download, else built.
 *
 * @throws UserError if one can be had in no way. The command plugin alone may be missing, in a checkout
 * without the stand-in's sources.
 */
export async function resolveTools(context: ResolveContext, report: Reporter): Promise<Manifest> {
  const official = vendor(context, report);
  const tools: Manifest = {};
  Object.assign(tools, await resolvePulumi(context, official, report));
  tools[pins.docker.name] = await resolvePlugin(context, "docker", official, report);
  const command = await resolveCommand(context, official, report);
  if (command) tools[pins.command.name] = command;
  if (context.extras?.kubernetes)
    tools[kubernetesPlugin.name] = await resolvePlugin(context, "kubernetes", official, report);
  return tools;
}

/** Finds or makes programs of a cluster: in the cache, else the vendor's download, else built. Their paths. */
export async function resolveClusterTools<Name extends ClusterToolName>(
  context: ClusterContext,
  names: readonly Name[],
  report: Reporter,
): Promise<Record<Name, string>> {
  const { cache, release: releaseOf = clusterRelease, build } = context;
  const official = vendor(context, report);
  const paths: Partial<Record<ClusterToolName, string>> = {};
  for (const name of names) {
    const release = releaseOf(name);
    const built = findBuilt(cache, clusterRecipes[name]);
    const dir = built ? undefined : await official(release);
    if (dir) paths[name] = join(dir, release.program);
    else paths[name] = built ?? (await buildTool(cache, clusterRecipes[name], report, build));
  }
  return paths as Record<Name, string>;
}

/** What the search for a cluster's programs works with; tests put their own in. */
export interface ClusterContext {
  cache: string;
  release?: (name: ClusterToolName) => ClusterRelease;
  build?: GoBuilder;
}

type Vendor = (release: OfficialRelease) => Promise<string | undefined>;

/** The vendor's download; once a site has not answered, none is tried again in this run. */
function vendor(context: { cache: string }, report: Reporter): Vendor {
  let unreachable = false;
  return async (release) => {
    const cached = join(context.cache, officialEntry(release));
    if (existsSync(cached)) return cached;
    if (unreachable) return undefined;
    try {
      return await download(context.cache, release, report);
    } catch (error) {
      if (!(error instanceof Unreachable || error instanceof ChecksumMismatch)) throw error;
      unreachable ||= error instanceof Unreachable;
      const then = error instanceof ChecksumMismatch ? "it was discarded" : "that site is not tried again";
      report.say(`  ${error.message}; ${then}, and the tool is taken from elsewhere.`);
      return undefined;
    }
  };
}

/** The CLI and its language host come as a pair, since they are released as one. */
async function resolvePulumi(context: ResolveContext, official: Vendor, report: Reporter): Promise<Manifest> {
  const pair = (
    origin: ResolvedTool["origin"],
    version: string,
    pulumi: string,
    language: string,
  ): Manifest => ({
    [pins.pulumi.name]: { origin, version, path: pulumi },
    [pins.language.name]: { origin, version, path: language },
  });
  const found = await acceptCandidate(context.candidates, pins.pulumi);
  // A link to pulumi (Homebrew) may sit in a folder without language hosts.
  if (found) {
    const real = realpathSync(found.path);
    return pair("path", found.version, real, languageBeside(real));
  }
  const { cache, build } = context;
  const builtBoth = findBuilt(cache, goRecipes.pulumi) && findBuilt(cache, goRecipes.language);
  const dir = builtBoth ? undefined : await official((context.releases ?? officialReleases()).pulumi);
  if (dir) {
    const { pulumi, language } = officialPulumi(dir);
    return pair("official", pins.pulumi.version, pulumi, language);
  }
  const pulumi = await buildTool(cache, goRecipes.pulumi, report, build);
  const language = await buildTool(cache, goRecipes.language, report, build);
  return {
    [pins.pulumi.name]: { origin: "built", version: goRecipes.pulumi.version, path: pulumi },
    [pins.language.name]: { origin: "built", version: goRecipes.language.version, path: language },
  };
}

/** The plugins that come as the vendor's download or are built. */
const plugins = {
  docker: { pin: pins.docker, recipe: goRecipes.docker },
  kubernetes: { pin: kubernetesPlugin, recipe: kubernetesPluginRecipe },
} as const;

async function resolvePlugin(
  context: ResolveContext,
  which: keyof typeof plugins,
  official: Vendor,
  report: Reporter,
): Promise<ResolvedTool> {
  const { pin, recipe } = plugins[which];
  const found = await acceptCandidate(context.candidates, pin);
  if (found) return { origin: "path", ...found };
  const built = findBuilt(context.cache, recipe);
  const dir = built ? undefined : await official((context.releases ?? officialReleases())[which]);
  if (dir) return { origin: "official", version: pin.version, path: join(dir, pin.name) };
  const path = built ?? (await buildTool(context.cache, recipe, report, context.build));
  return { origin: "built", version: pin.version, path };
}

async function resolveCommand(
  context: ResolveContext,
  official: Vendor,
  report: Reporter,
): Promise<ResolvedTool | undefined> {
  const found = await acceptCandidate(context.candidates, pins.command);
  if (found) return { origin: "path", ...found };
  const dir = await official((context.releases ?? officialReleases()).command);
  if (dir) return { origin: "official", version: pins.command.version, path: join(dir, pins.command.name) };
  const standIn = await bundleStandIn(context.cache, report, context.standInEntry).catch((error: unknown) => {
    const why = error instanceof Error ? error.message : String(error);
    throw new UserError(
      `Bundling the command plugin's stand-in failed:\n${why}\nTry: npm ci, then npm run setup`,
    );
  });
  return standIn ? { origin: "stand-in", version: pins.command.version, path: standIn } : undefined;
}

/** A finished download, build or bundle of a tool in the cache. */
export function findCached(cache: string, name: ToolName): string | undefined {
  const releases = officialReleases();
  const pulumi = officialPulumi(join(cache, officialEntry(releases.pulumi)));
  const standIn = standInEntry();
  const places: Record<ToolName, (string | undefined)[]> = {
    pulumi: [pulumi.pulumi, findBuilt(cache, goRecipes.pulumi)],
    "pulumi-language-nodejs": [pulumi.language, findBuilt(cache, goRecipes.language)],
    "pulumi-resource-docker": [
      join(cache, officialEntry(releases.docker), name),
      findBuilt(cache, goRecipes.docker),
    ],
    "pulumi-resource-command": [
      join(cache, officialEntry(releases.command), name),
      standIn && join(cache, standIn, name),
    ],
    "pulumi-resource-kubernetes": [
      join(cache, officialEntry(releases.kubernetes), name),
      findBuilt(cache, kubernetesPluginRecipe),
    ],
  };
  return places[name].find((path) => path !== undefined && existsSync(path));
}

/** Identifies the sources that tools are built from. */
export function sourcesFingerprint({ kubernetes = false }: Extras = {}): string[] {
  return [
    ...Object.values(goRecipes).map(builtEntry),
    standInEntry() ?? "no stand-in",
    ...(kubernetes ? [builtEntry(kubernetesPluginRecipe)] : []),
  ];
}
