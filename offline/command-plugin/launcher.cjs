#!/usr/bin/env node
// Starts the bundle beside it from V8's code cache, which saves a quarter of the start-up time of every
// `pulumi up`. A cache of another Node version is refused by V8, and the bundle is compiled as usual.
const { existsSync, readFileSync, writeFileSync } = require("node:fs");
const { createRequire, wrap } = require("node:module");
const { Script } = require("node:vm");

const bundle = `${__dirname}/pulumi-resource-command.cjs`;
const cache = `${bundle}.cache`;
const script = new Script(wrap(readFileSync(bundle, "utf8")), {
  filename: bundle,
  cachedData: existsSync(cache) ? readFileSync(cache) : undefined,
});
script.runInThisContext()({}, createRequire(bundle), module, bundle, __dirname);

// The build runs this once, when all that a start needs has been compiled.
if (process.argv[2] === "--save-code-cache") {
  setTimeout(() => {
    writeFileSync(cache, script.createCachedData());
    process.exit(0);
  }, 100);
}
