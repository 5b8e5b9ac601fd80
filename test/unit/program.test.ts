import { copyFileSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { exec } from "../../setup/exec";
import { projectRoot } from "../../setup/project";

const folder = mkdtempSync(join(tmpdir(), "program-"));
afterAll(() => rmSync(folder, { recursive: true }));
symlinkSync(join(projectRoot, "node_modules"), join(folder, "node_modules"));
copyFileSync(join(projectRoot, "program.cjs"), join(folder, "program.cjs"));

/** What Pulumi would get of a program, or what Node.js says of it. */
async function load(files: Record<string, string>, before = ""): Promise<string> {
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name), text);
  }
  // As Pulumi runs it.
  const script = `${before}
    for (const event of ["uncaughtException", "unhandledRejection"])
      process.on(event, (error) => console.log(error.stack));
    console.log(JSON.stringify(require("./program.cjs")));`;
  const { all } = await exec("node", ["-e", script], { cwd: folder, all: true, reject: false });
  return all ?? "";
}

it("gives Pulumi what index.ts exports, with the folder of the components", async () => {
  const outputs = await load({
    "index.ts": 'import { here, answer } from "./components/host/scripts";\nexport = { here, answer };',
    "components/host/scripts.ts":
      "export const here: string = __dirname;\nexport { answer } from '../answer';\n",
    "components/answer.ts": "export const answer: number = 41;",
  });
  expect(JSON.parse(outputs)).toEqual({ here: join(folder, "components/host"), answer: 41 });
});

it.each([
  ["thrown while it loads", "broken();"],
  ["thrown later", "setTimeout(() => broken(), 1);"],
  ["of a promise that nobody waits for", "void Promise.resolve().then(() => broken());"],
])("names file and line of a bug %s", async (_, body) => {
  const said = await load({
    "index.ts": `import { broken } from "./components/answer";\n${body}\n`,
    "components/answer.ts":
      'interface Wide {\n  room: string;\n}\n\nexport function broken(wide?: Wide): never {\n  throw new Error(wide?.room ?? "a bug");\n}\n',
  });
  expect(said).toMatch(/a bug[\s\S]*components\/answer\.ts:6:/);
});

it("leaves out what Pulumi itself needs half a second for, and every other part of it usable", async () => {
  const outputs = await load({
    "index.ts": `import * as pulumi from "@pulumi/pulumi";
      import "@pulumi/command";
      import "@pulumi/docker";
      const loaded = Object.keys(require.cache).filter((path) => /[/]node_modules[/](typescript|@npmcli)[/]/.test(path));
      export = { loaded, used: [typeof pulumi.output, typeof pulumi.runtime.invoke, typeof pulumi.automation.LocalWorkspace] };`,
  });
  expect(JSON.parse(outputs)).toEqual({ loaded: [], used: ["function", "function", "function"] });
});

it.each([
  ["", "as a release has them"],
  [
    `const { Module } = require("node:module");
     const resolve = Module._resolveFilename;
     Module._resolveFilename = (name, ...more) => {
       if (name.startsWith("@pulumi/pulumi/runtime/closure/")) throw new Error("moved");
       return resolve(name, ...more);
     };`,
    "where another release has moved them",
  ],
])("functions can be sent elsewhere as text, with the modules for that %s", async (before, _where) => {
  const program = `import * as pulumi from "@pulumi/pulumi";
    const answer = 41;
    void pulumi.runtime.serializeFunction(() => answer).then(({ text }) => console.log(text));`;
  expect(await load({ "index.ts": program }, before)).toMatch(/exports\.handler[\s\S]*answer: 41/);
});
