// What Pulumi starts: index.ts and what it imports, as one bundle made anew on each run, in a tenth of a second.
const Module = require("node:module");
const { buildSync } = require("esbuild");

// Pulumi loads these for functions that are sent elsewhere as text, and TypeScript and npm's own packages with them: half
// a second, and nothing here has such functions.
for (const part of ["codePaths", "serializeClosure"]) {
  const path = require.resolve(`@pulumi/pulumi/runtime/closure/${part}`);
  require.cache[path] ??= { exports: {}, loaded: true };
}

const { outputFiles } = buildSync({
  entryPoints: [`${__dirname}/index.ts`],
  bundle: true,
  external: ["@pulumi/*"],
  platform: "node",
  sourcemap: "inline",
  sourcesContent: false,
  // Never written. In components/host, whose scripts.ts alone asks where it is.
  outfile: `${__dirname}/components/host/program.cjs`,
  write: false,
});
const [{ path, text }] = outputFiles;
const program = new Module(path, module);
Object.assign(program, { filename: path, paths: module.paths });

// An error that nobody has foreseen shows lines of the sources; the stack of each resource, which Pulumi asks for, need not.
process.setSourceMapsEnabled(true);
for (const event of ["uncaughtException", "unhandledRejection"])
  process.prependListener(event, () => process.setSourceMapsEnabled(true));
program._compile(text, path);
process.setSourceMapsEnabled(false);
module.exports = program.exports;
