// Makes dist/ for `npm pack`: the components as JavaScript with declarations, their scripts, and the schema from which
// Pulumi makes SDKs for other languages.
import { execFileSync } from "node:child_process";
import { cpSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { schema } from "./schema.mjs";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const require = createRequire(import.meta.url);
const dist = join(root, "dist");
const cluster = join(root, "components", "cluster");

rmSync(dist, { recursive: true, force: true });
const tsc = [require.resolve("typescript/bin/tsc"), "--project", join(root, "package", "tsconfig.json")];
// Its words are for people, not for who reads what `npm pack --json` prints.
execFileSync(process.execPath, tsc, { stdio: ["ignore", process.stderr, "inherit"] });
cpSync(join(root, "components"), dist, {
  recursive: true,
  filter: (path) => path !== cluster && (statSync(path).isDirectory() || path.endsWith(".sh")),
});
const { outputs } = require(join(dist, "outputs.js"));
writeFileSync(join(dist, "schema.json"), `${JSON.stringify(schema(root, outputs), null, 2)}\n`);
