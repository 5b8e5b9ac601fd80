import { existsSync, realpathSync } from "node:fs";
import { join } from "node:path";
import {
  buildTool,
  builtEntry,
  bundleStandIn,
  findBuilt,
  type GoBuilder,
  goRecipes,
  standInEntry,
} from "../../offline";
import type { Reporter } from "../report";
import { UserError } from "../user-error";
import { acceptCandidate, type Candidate } from "./found";
import {
  ChecksumMismatch,
  download,
  type OfficialRelease,
  officialEntry,
  officialReleases,
  Unreachable,
} from "./official";
import { pins } from "./pins";
import { languageBeside, type Manifest, officialPulumi, type ResolvedTool } from "./tool-set";
import type { ToolName } from "./types";

/** What the search for tools works with; tests put their own in. */
export interface ResolveContext {
  cache: string;
  candidates: readonly Candidate[];
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
  tools[pins.docker.name] = await resolveDocker(context, official, report);
  const command = await resolveCommand(context, official, report);
  if (command) tools[pins.command.name] = command;
  return tools;
}

type Vendor = (release: OfficialRelease) => Promise<string | undefined>;

/** The vendor's download; once the site has not answered, it is not tried again in this run. */
function vendor(context: ResolveContext, report: Reporter): Vendor {
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

async function resolveDocker(
  context: ResolveContext,
  official: Vendor,
  report: Reporter,
): Promise<ResolvedTool> {
  const found = await acceptCandidate(context.candidates, pins.docker);
  if (found) return { origin: "path", ...found };
  const built = findBuilt(context.cache, goRecipes.docker);
  const dir = built ? undefined : await official((context.releases ?? officialReleases()).docker);
  if (dir) return { origin: "official", version: pins.docker.version, path: join(dir, pins.docker.name) };
  const path = built ?? (await buildTool(context.cache, goRecipes.docker, report, context.build));
  return { origin: "built", version: pins.docker.version, path };
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
  };
  return places[name].find((path) => path !== undefined && existsSync(path));
}

/** Identifies the sources that tools are built from. */
export function sourcesFingerprint(): string[] {
  return [...Object.values(goRecipes).map(builtEntry), standInEntry() ?? "no stand-in"];
}
