// Loads the program, what it imports and the SDKs' resources as one bundle with V8's code cache: a quarter of the time
// that Pulumi's own TypeScript loader takes, which translates each file in every run. The bundle is kept in a per-user
// cache and made anew when the content of any file in it has changed. Types are checked by `npm run typecheck`.
const { createHash } = require("node:crypto");
const {
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} = require("node:fs");
const { createRequire, SourceMap, wrap } = require("node:module");
const { homedir } = require("node:os");
const { dirname, join, relative, resolve } = require("node:path");
const { deserialize, serialize } = require("node:v8");
const { Script } = require("node:vm");

/** Of Pulumi itself there has to be one copy, the one that runs us. */
const external = ["@pulumi/pulumi", "@pulumi/pulumi/*"];

/**
 * Runs a program that is written in TypeScript.
 *
 * @param entry absolute path of its first file
 * @param cache folder that the bundle is kept in
 * @returns what the program exports
 */
function loadProgram(entry, cache = defaultCache()) {
  const root = dirname(entry);
  const require = createRequire(entry);
  const file = join(cache, `${sha256([entry, process.version]).slice(0, 16)}.bundle`);
  // Where the code seems to be; mapped to the sources only where someone is to read it.
  const filename = `${entry}.bundle.js`;

  const found = read(file);
  const bundle = found?.hash === hashOf(found?.inputs ?? []) ? found : build(entry);
  const script = new Script(wrap(bundle.code), { filename, cachedData: bundle.compiled });
  if (bundle.steady && (bundle !== found || script.cachedDataRejected)) {
    // At the end, when all that a run needs has been compiled.
    process.once("exit", () => keep(file, { ...bundle, compiled: script.createCachedData() }));
  }

  loadUnusedLater(require);
  nameSourcesInErrors(entry, filename);
  const module = { exports: {} };
  // One folder for all of the bundle: components/host, whose scripts.ts alone asks for it.
  script.runInThisContext()(module.exports, require, module, filename, join(root, "components", "host"));
  return module.exports;
}

function defaultCache() {
  return join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "microsandbox-stack", "program");
}

/**
 * The bundle's code, the files that it depends on, and whether none of them was written meanwhile (a bundle of half
 * an edit must not be kept). Nothing is written.
 */
function build(entry) {
  const root = dirname(entry);
  const started = Date.now();
  const { outputFiles, metafile } = require("esbuild").buildSync({
    entryPoints: [entry],
    absWorkingDir: root,
    outfile: `${entry}.bundle.js`,
    bundle: true,
    write: false,
    logLevel: "silent", // What is wrong is in the error.
    metafile: true,
    sourcemap: "external",
    platform: "node",
    format: "cjs",
    target: "node20",
    external,
  });
  const [map, code] = outputFiles.map(({ text }) => text);
  const sources = Object.keys(metafile.inputs).map((input) => resolve(root, input));
  const inputs = [...sources, __filename, require.resolve("esbuild/package.json")];
  // The clock of files is coarse: up to 10 ms behind.
  const steady = inputs.every((input) => statSync(input).ctimeMs < started - 10);
  return { inputs, hash: hashOf(inputs), steady, code, map };
}

/** A hash of the files' names and content; undefined where one of them can't be read. */
function hashOf(files) {
  try {
    return sha256(files.flatMap((file) => [file, readFileSync(file)]));
  } catch {
    return undefined;
  }
}

function sha256(parts) {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(`${part.length} `).update(part);
  return hash.digest("hex");
}

function read(file) {
  try {
    return deserialize(readFileSync(file));
  } catch {
    return undefined; // Not there, or from a disk that was full.
  }
}

function keep(file, { map, ...bundle }) {
  // Two runs at once: each writes a file of its own, the last one stays.
  const own = `${file}.${process.pid}`;
  try {
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(own, serialize(bundle));
    renameSync(own, file);
  } catch {
    if (existsSync(own)) rmSync(own); // A full disk or the like: the next run is slower, that is all.
  }
}

/** Parts of Pulumi that this program has no use for, with the functions that Pulumi's index takes out of them. */
const unused = {
  automation: [],
  provider: [],
  "runtime/closure/serializeClosure": ["serializeFunction", "serializeFunctionAsync"],
  "runtime/closure/codePaths": ["computeCodePaths"],
};

/**
 * Pulumi's index loads all of Pulumi, and with it npm's own packages: 530 modules, which take longer than all of the
 * program. These parts are loaded when someone uses them.
 */
function loadUnusedLater(require) {
  for (const [part, functions] of Object.entries(unused)) {
    const path = require.resolve(`@pulumi/pulumi/${part}`);
    if (require.cache[path]) continue;
    const load = () => {
      if (require.cache[path] === later) delete require.cache[path];
      return require(path);
    };
    const known = { __esModule: true };
    for (const name of functions) known[name] = (...args) => load()[name](...args);
    const exports = new Proxy(known, { get: (_, name) => (name in known ? known[name] : load()[name]) });
    const later = { id: path, filename: path, loaded: true, children: [], paths: [], exports };
    require.cache[path] = later;
  }
}

/** An error that nobody has caught names the lines of the sources, not of the bundle. */
function nameSourcesInErrors(entry, filename) {
  // Pulumi asks for the stack of every resource, and its loader would map each of them.
  Error.prepareStackTrace = undefined;
  const root = dirname(entry);
  const place = new RegExp(`${filename.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&")}:(\\d+)(?::(\\d+))?`, "g");
  const explain = (error) => {
    if (!(error instanceof Error) || !error.stack?.includes(filename)) return;
    const map = new SourceMap(JSON.parse(build(entry).map));
    error.stack = error.stack.replace(place, (_, line, column = 1) => {
      const { originalSource, originalLine, originalColumn } = map.findEntry(line - 1, column - 1);
      return `${relative(root, resolve(root, originalSource))}:${originalLine + 1}:${originalColumn + 1}`;
    });
  };
  process.prependListener("uncaughtException", explain);
  process.prependListener("unhandledRejection", explain);
}

module.exports = { loadProgram };
