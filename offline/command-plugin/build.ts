import { execFile } from "node:child_process";
import { chmod, copyFile, mkdir } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { build } from "esbuild";

const NAME = "pulumi-resource-command";

/**
 * Builds the command plugin into a directory: the executable `pulumi-resource-command`, which needs `node` on
 * PATH, its bundle and the bundle's code cache. The three may be moved together; nothing else is needed to
 * run them.
 *
 * @returns path of the executable
 */
export async function buildCommandPlugin(directory: string): Promise<string> {
  await mkdir(directory, { recursive: true });
  await build({
    entryPoints: [join(__dirname, "main.ts")],
    outfile: join(directory, `${NAME}.cjs`),
    bundle: true,
    platform: "node",
    format: "cjs",
    target: "node20",
    minify: true,
    legalComments: "none",
    // For grpc-js's debugging services only, which are never started: a fifth of the bundle.
    alias: { "@grpc/proto-loader": join(__dirname, "no-proto-loader.ts") },
  });
  const executable = join(directory, NAME);
  await copyFile(join(__dirname, "launcher.cjs"), executable);
  await chmod(executable, 0o755);
  await promisify(execFile)(process.execPath, [executable, "--save-code-cache"]);
  return executable;
}
