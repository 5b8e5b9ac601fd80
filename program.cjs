// What Pulumi starts: index.ts and what it imports, as one bundle made anew on each run, in a tenth of a second.
const Module = require("node:module");
const { buildSync } = require("esbuild");

// Pulumi loads these for functions that are sent elsewhere as text (`pulumi.dynamic`), and TypeScript and npm's own
// packages with them: half a second. Here they are loaded when one is called. A release without them loads what it has.
for (const part of ["codePaths", "serializeClosure"]) {
  const path = resolved(`@pulumi/pulumi/runtime/closure/${part}`);
  if (path) require.cache[path] ??= { exports: loadedOnCall(path), loaded: true };
}

function resolved(name) {
  try {
    return require.resolve(name);
  } catch {
    return undefined;
  }
}

/** The functions of a module, which is loaded when one of them is called. */
function loadedOnCall(path) {
  const call = (name, args) => {
    if (require.cache[path].exports === functions) delete require.cache[path];
    return require(path)[name](...args);
  };
  const functions = new Proxy(
    {},
    {
      get:
        (_, name) =>
        (...args) =>
          call(name, args),
    },
  );
  return functions;
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
