// What Pulumi starts; the program itself is index.ts. While that is loaded, the command plugin starts too: every run
// asks it for the checks, and its start takes as long.
const { setImmediate } = require("node:timers/promises");
const { version } = require("@pulumi/command/package.json");
const { invoke } = require("@pulumi/pulumi/runtime/invoke");
const { loadProgram } = require("./components/program-loader.cjs");

module.exports = async () => {
  // Where it can't start, the first check tells.
  invoke("command:local:run", { command: ":", logging: "none" }, { version }).catch(() => {});
  // The request leaves within a few turns of the event loop, which the loading then stops.
  for (let turn = 0; turn < 5; turn++) await setImmediate();
  return loadProgram(`${__dirname}/index.ts`);
};
