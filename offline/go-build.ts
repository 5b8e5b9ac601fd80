import { existsSync } from "node:fs";
import { chmod, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Reporter } from "../setup/report";
import { makeEntry } from "../setup/tools/cache";
import { UserError } from "../setup/user-error";
import { findGo, OLDEST_GO } from "./go";
import type { GoRecipe } from "./recipes";
import { goRoot, hashFolder } from "./sources";

/** Runs the build; a parameter so that tests can put a fake one in its place. Rejects with the compiler's words. */
export type GoBuilder = (recipe: GoRecipe, output: string, report: Reporter) => Promise<void>;

/** Name of the cache entry that a recipe's build ends in. */
export function builtEntry(recipe: GoRecipe): string {
  return `${recipe.name}-${recipe.version}-${hashFolder(join(goRoot, recipe.dir))}`;
}

/** The finished build of a recipe, or undefined. */
export function findBuilt(cache: string, recipe: GoRecipe): string | undefined {
  const file = join(cache, builtEntry(recipe), recipe.name);
  return existsSync(file) ? file : undefined;
}

/**
 * Builds a tool from its pinned Go modules into the cache, and returns the executable's path.
 *
 * Go's own caches (GOMODCACHE, GOCACHE) keep the modules and objects, some 5 GB for the tools of every stack;
 * `go clean -cache -modcache` frees them.
 *
 * @throws UserError if there is no Go toolchain or the build fails; nothing of it stays in the cache.
 */
export async function buildTool(
  cache: string,
  recipe: GoRecipe,
  report: Reporter,
  build: GoBuilder = goBuild,
): Promise<string> {
  const dir = await makeEntry(cache, builtEntry(recipe), report, (temporary) =>
    report.step(
      `Build ${recipe.name} ${recipe.version} from Go modules (about ${recipe.takes})`,
      async () => {
        const output = join(temporary, recipe.name);
        await build(recipe, output, report);
        if (!existsSync(output)) throw new UserError(`The build of ${recipe.name} ended without a result.`);
        await chmod(output, 0o755);
      },
    ),
  );
  return join(dir, recipe.name);
}

const goBuild: GoBuilder = async (recipe, output, report) => {
  const go = await findGo(report);
  const linked = recipe.variables.map((variable) => ` -X ${variable}`).join("");
  const flags = ["-trimpath", "-mod=readonly", "-buildvcs=false", "-ldflags", `-s -w${linked}`];
  if (recipe.tags) flags.push("-tags", recipe.tags);
  const overlay = `${output}.overlay.json`;
  if (recipe.embeds) {
    await writeFile(overlay, await embedded(go, recipe, recipe.embeds));
    flags.push("-overlay", overlay);
  }
  await runGo(recipe, "nice", ["-n", "10", go, "build", ...flags, "-o", output, recipe.packagePath]);
  await rm(overlay, { force: true });
};

/** Go's overlay that puts a module's file beside our main: generated files stay out of this repository. */
async function embedded(go: string, recipe: GoRecipe, { module, file, as }: Embeds): Promise<string> {
  const answer = await runGo(recipe, go, ["mod", "download", "-json", module]);
  const { Dir: folder } = JSON.parse(answer) as { Dir: string };
  return JSON.stringify({ Replace: { [join(goRoot, recipe.dir, as)]: join(folder, file) } });
}
type Embeds = NonNullable<GoRecipe["embeds"]>;

/** Runs Go in the folder of a recipe, and returns its standard output. */
async function runGo(recipe: GoRecipe, program: string, words: readonly string[]): Promise<string> {
  const { execa } = await import("execa");
  const result = await execa(program, words, {
    cwd: join(goRoot, recipe.dir),
    // Without cgo no C compiler is needed, and the binary runs on any libc.
    env: { CGO_ENABLED: "0", GOWORK: "off" },
    stdin: "ignore",
    all: true,
    reject: false,
  });
  if (result.exitCode === 0) return result.stdout;
  const tail = (result.all ?? result.message ?? "").split("\n").slice(-15).join("\n");
  throw new UserError(
    `Building ${recipe.name} ${recipe.version} from Go modules failed:\n${tail}\n` +
      `Needed: Go ${OLDEST_GO} or newer, which may fetch a newer toolchain (go env GOTOOLCHAIN), and a reachable Go module proxy (go env GOPROXY).\n` +
      "Try again with: npm run setup",
  );
}
