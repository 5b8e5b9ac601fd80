import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { exec } from "../../../setup/exec";

const projectRoot = resolve(__dirname, "../../..");
let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "program-loader-"));
  symlinkSync(join(projectRoot, "node_modules"), join(folder, "node_modules"));
  mkdirSync(join(folder, "components"));
  write("index.ts", 'import { answer } from "./components/answer";\nexport const result: number = answer();');
  write("components/answer.ts", "export const answer = (): number => 41;\n");
  write("package.json", "{}");
});
afterEach(() => rmSync(folder, { recursive: true }));

const write = (name: string, text: string) => writeFileSync(join(folder, name), text);
const kept = () => join(folder, "cache", readdirSync(join(folder, "cache"))[0] ?? "");

/** Loads the program in a process of its own, as Pulumi does, and returns what the expression is then. */
async function load(
  expression = "program.result",
  before = "",
): Promise<{ value: unknown; translated: boolean }> {
  const script = `${before}
    const { loadProgram } = require(${JSON.stringify(join(projectRoot, "components/program-loader.cjs"))});
    for (const event of ["uncaughtException", "unhandledRejection"]) {
      process.on(event, (error) => {
        console.log(JSON.stringify({ value: error.stack }));
        process.exit();
      });
    }
    const program = loadProgram(${JSON.stringify(join(folder, "index.ts"))}, ${JSON.stringify(join(folder, "cache"))});
    const translated = Object.keys(require.cache).some((path) => path.includes("/esbuild/lib/"));
    (async () => {
      const value = await (${expression});
      console.log(JSON.stringify({ value, translated }));
    })();`;
  const { stdout } = await exec("node", ["-e", script], { cwd: folder });
  return JSON.parse(stdout);
}

describe("loadProgram", () => {
  it("translates a program once", async () => {
    expect(await load()).toEqual({ value: 41, translated: true });
    expect(await load()).toEqual({ value: 41, translated: false });
  });

  it("notices an edit that leaves size and time of the file as they were", async () => {
    await load();
    const file = join(folder, "components/answer.ts");
    const { atime, mtime, size } = statSync(file);
    write("components/answer.ts", "export const answer = (): number => 42;\n");
    utimesSync(file, atime, mtime);
    expect(statSync(file)).toMatchObject({ size, mtime });
    expect(await load()).toEqual({ value: 42, translated: true });
  });

  it("does not keep what it read while a file was written", async () => {
    const startedEarlier = "const { now } = Date; Date.now = () => now() - 60_000;";
    expect(await load("program.result", startedEarlier)).toEqual({ value: 41, translated: true });
    expect(existsSync(join(folder, "cache"))).toBe(false);
  });

  it("runs where nothing can be kept", async () => {
    write("cache", "a file in the folder's place");
    expect(await load()).toEqual({ value: 41, translated: true });
  });

  it("notices a file that is gone", async () => {
    await load();
    rmSync(join(folder, "components/answer.ts"));
    expect((await load()).value).toMatch(/Could not resolve "\.\/components\/answer"/);
  });

  it.each([
    ["cut off", (file: string) => writeFileSync(file, "half")],
    ["empty", (file: string) => writeFileSync(file, "")],
  ])("makes a bundle anew that is %s", async (_, damage) => {
    await load();
    damage(kept());
    expect(await load()).toEqual({ value: 41, translated: true });
    expect(await load()).toEqual({ value: 41, translated: false });
  });

  it.each([
    ["thrown while it loads", "export const result = broken();"],
    ["thrown later", "export const result = new Promise(() => setTimeout(() => broken(), 1));"],
    [
      "of a promise that nobody waits for",
      "void Promise.resolve().then(() => broken());\nexport const result = undefined;",
    ],
  ])("names file and line of a bug %s", async (_, body) => {
    write(
      "components/answer.ts",
      'interface Wide {\n  room: string;\n}\n\nexport function broken(wide?: Wide): never {\n  throw new Error(wide?.room ?? "a bug");\n}\n',
    );
    write("index.ts", `import { broken } from "./components/answer";\n${body}\n`);
    const { value } = await load("program.result ?? new Promise(() => {})");
    expect(value).toMatch(/a bug[\s\S]*components\/answer\.ts:6:/);
    expect(value).not.toContain("bundle.js");
  });

  it("leaves every part of Pulumi usable", async () => {
    write("index.ts", 'import * as pulumi from "@pulumi/pulumi";\nexport const result = pulumi;');
    const used = await load(`(async ({ automation, provider, runtime }) => [
      typeof automation.LocalWorkspace.create, typeof provider.main,
      (await runtime.serializeFunction(() => 5)).text.includes("return () => 5"),
      (await runtime.computeCodePaths()) instanceof Map])(program.result)`);
    expect(used.value).toEqual(["function", "function", true, true]);
  });
});
