import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { copyFile, link, mkdir, symlink, writeFile } from "node:fs/promises";
import { delimiter, dirname, join } from "node:path";
import { z } from "zod";
import type { Reporter } from "../report";
import { makeEntry } from "./cache";
import { userPulumiHome } from "./found";
import { kubernetesPlugin, pins } from "./pins";
import type { Tools } from "./types";

const resolvedTool = z.object({
  origin: z.enum(["path", "official", "built", "stand-in"]),
  version: z.string(),
  path: z.string(),
});
const manifest = z.record(z.string(), resolvedTool);

/** A tool that has been found or made. */
export type ResolvedTool = z.infer<typeof resolvedTool>;
/** The tools of a set, by the name of their executable. */
export type Manifest = z.infer<typeof manifest>;

/** Name of the cache entry for the set of tools that a given state of machine and checkout leads to. */
export function setEntry(inputs: readonly string[]): string {
  return `set-${createHash("sha256").update(inputs.join("\n")).digest("hex").slice(0, 16)}`;
}

/** Reads a finished set; undefined if there is none or one of its tools has been removed since. */
export function readSet(cache: string, entry: string): Manifest | undefined {
  const file = join(cache, entry, "tools.json");
  if (!existsSync(file)) return undefined;
  const tools = manifest.parse(JSON.parse(readFileSync(file, "utf8")));
  return Object.values(tools).every((tool) => existsSync(tool.path)) ? tools : undefined;
}

/**
 * Lays the tools out as one set: `bin/` for PATH and `home/` for PULUMI_HOME.
 *
 * Why a PULUMI_HOME of our own: a plugin found on PATH brings a warning into every `pulumi up`, and one put
 * into the user's ~/.pulumi under the vendor's version number would serve their other projects too, where
 * docker.Image, which only the vendor's has, is then missing. The user's login stays theirs, through
 * PULUMI_CREDENTIALS_PATH (see {@link setEnvironment}).
 */
export async function writeSet(
  cache: string,
  entry: string,
  tools: Manifest,
  report: Reporter,
): Promise<void> {
  const workspaces = join(cache, "workspaces");
  await mkdir(workspaces, { recursive: true });
  const isSound = () => readSet(cache, entry) !== undefined;
  const layOut = async (temporary: string) => {
    const bin = join(temporary, "bin");
    await mkdir(bin);
    await mkdir(join(temporary, "home", "plugins"), { recursive: true });
    // Which stack is selected outlives an upgrade of the tools.
    await symlink(workspaces, join(temporary, "home", "workspaces"));
    for (const [name, tool] of Object.entries(tools)) {
      await place(tool, join(bin, name));
      const plugin = [pins.docker, pins.command, kubernetesPlugin].find((pin) => pin.name === name);
      if (!plugin) continue;
      // Named by the version that the npm package asks for: pulumi takes no other, not even a newer one.
      const dir = `${plugin.name.replace(/^pulumi-/, "")}-v${plugin.version}`;
      await mkdir(join(temporary, "home", "plugins", dir));
      await symlink(tool.path, join(temporary, "home", "plugins", dir, plugin.name));
    }
    await writeFile(join(temporary, "tools.json"), `${JSON.stringify(tools, null, 2)}\n`);
  };
  await makeEntry(cache, entry, report, layOut, isSound);
}

/** The CLI looks for language hosts beside its real path, so what we built apart is hard-linked together. */
async function place(tool: ResolvedTool, target: string): Promise<void> {
  if (tool.origin !== "built") return symlink(tool.path, target);
  await link(tool.path, target).catch(() => copyFile(tool.path, target));
}

/** What callers need to use a set. */
export function setEnvironment(
  cache: string,
  entry: string,
  tools: Manifest,
  env: NodeJS.ProcessEnv = process.env,
): Tools {
  const binDir = join(cache, entry, "bin");
  const rest = (env.PATH ?? "").split(delimiter).filter((dir) => dir !== binDir);
  return {
    binDir,
    env: {
      PATH: [binDir, ...rest].join(delimiter),
      PULUMI_HOME: join(cache, entry, "home"),
      // `pulumi login` and tokens work as ever, and outlive an upgrade of the tools.
      PULUMI_CREDENTIALS_PATH: env.PULUMI_CREDENTIALS_PATH || userPulumiHome(cache, env),
      // What is on PATH has been looked at; without this pulumi would prefer it, with a warning.
      PULUMI_IGNORE_AMBIENT_PLUGINS: "true",
      PULUMI_SKIP_UPDATE_CHECK: "true",
      PULUMI_AUTOMATION_API_SKIP_VERSION_CHECK: "true",
    },
    origins: Object.fromEntries(Object.entries(tools).map(([name, tool]) => [name, tool.origin])),
  };
}

/** Folder and files of the vendor's CLI download. */
export function officialPulumi(dir: string): { pulumi: string; language: string } {
  return { pulumi: join(dir, "pulumi", "pulumi"), language: join(dir, "pulumi", pins.language.name) };
}

/** The language host that belongs to a pulumi on the machine. */
export function languageBeside(pulumi: string): string {
  return join(dirname(pulumi), pins.language.name);
}
