// Loads the TypeScript of the program: esbuild translates a file once, and the result is kept in a per-user cache by
// its content. Pulumi's own loader translates every file in every run, which takes longer than all the rest of an `up`
// with nothing to do. index.ts asks for it first. Types are checked by `npm run typecheck`.
const { createHash } = require("node:crypto");
const { mkdirSync, readFileSync, renameSync, writeFileSync } = require("node:fs");
const { homedir } = require("node:os");
const { join } = require("node:path");
const { version } = require("esbuild/package.json");

const cacheHome = process.env.XDG_CACHE_HOME || join(homedir(), ".cache");
const folder = join(cacheHome, "microsandbox-stack", `translated-v2-${version}-node${process.versions.node}`);

require.extensions[".ts"] = (module, filename) => module._compile(translated(filename), filename);

// Pulumi asks for the stack of every resource and output, and its loader maps each of them to the source. Without this
// the mapping is a tenth of the run; a stack in our files then shows the translated lines, which differ little.
Error.prepareStackTrace = undefined;

function translated(filename) {
  const source = readFileSync(filename, "utf8");
  const kept = join(
    folder,
    `${createHash("sha256").update(filename).update("\0").update(source).digest("hex")}.js`,
  );
  try {
    return readFileSync(kept, "utf8");
  } catch {
    const { transformSync } = require("esbuild");
    const options = { loader: "ts", format: "cjs", target: "node20", sourcefile: filename };
    const { code } = transformSync(source, options);
    mkdirSync(folder, { recursive: true });
    // Two runs at once: each writes a file of its own, the last one stays.
    writeFileSync(`${kept}.${process.pid}`, code);
    renameSync(`${kept}.${process.pid}`, kept);
    return code;
  }
}
