import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

const require = createRequire(import.meta.url);

/**
 * The schema from which Pulumi makes SDKs for other languages: what Pulumi's analyzer finds in the sources, without what is
 * for programs in TypeScript alone (outputs that are resources).
 *
 * @param {string} root folder of the package
 * @param {readonly string[]} outputs outputs that other languages get
 */
export function schema(root, outputs) {
  const { Analyzer } = require("@pulumi/pulumi/provider/experimental/analyzer");
  const { generateSchema } = require("@pulumi/pulumi/provider/experimental/schema");
  const { version, description } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
  const entry = { main: "components/index.ts" };
  const analyzer = new Analyzer(root, "microsandbox", entry, new Set(["Microsandbox"]));
  const { components, typeDefinitions } = analyzer.analyze();
  const { Microsandbox } = components;
  Microsandbox.outputs = Object.fromEntries(outputs.map((name) => [name, Microsandbox.outputs[name]]));
  delete typeDefinitions.ServerVolumes;
  const made = generateSchema("microsandbox", version, description, { Microsandbox }, typeDefinitions, []);
  // Other languages put `Args` behind the names of inputs themselves.
  return JSON.parse(JSON.stringify(made).replace(/(microsandbox:index:\w+?)Args"/g, '$1"'));
}
