import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { exec } from "../../setup/exec";
import { projectRoot } from "../../setup/project";

/** Imports, of files that need not be there, by the file that has them; those that the rule refuses come second. */
const FILES: Record<string, { allowed?: string[]; refused?: string[] }> = {
  "index.ts": {
    allowed: ["./components/fleet"],
    refused: ["./components/host/a", "./cli/main", "./setup/exec"],
  },
  "components/importer.ts": {
    allowed: ["./host/a", "./settings/a"],
    refused: ["../setup/exec", "../cli/stack"],
  },
  "components/settings/importer.ts": {
    allowed: ["./b", "zod"],
    refused: ["../host/a", "../fleet", "@pulumi/pulumi"],
  },
  "components/host/importer.ts": {
    allowed: ["../settings/b", "@pulumi/pulumi", "./b"],
    refused: ["../server/a", "../image/a", "../fleet", "../../setup/exec", "../../settings/a"],
  },
  "components/image/importer.ts": {
    allowed: ["../settings/b", "../host/b"],
    refused: ["../server/b", "../fleet"],
  },
  "components/server/importer.ts": {
    allowed: ["../settings/b", "../host/b"],
    refused: ["../image/b", "../../cli/a"],
  },
  "components/cluster/importer.ts": { allowed: ["../image/b", "../server/b"], refused: ["../service/b"] },
  "components/else/importer.ts": { allowed: ["../settings/b"], refused: ["../../setup/exec"] },
  "cli/importer.ts": {
    allowed: ["../components/host/b", "../setup/exec"],
    refused: ["../test/harness/stack", "../bench/noop", "../offline", "../index"],
  },
  "cli/deploy/importer.ts": {
    allowed: ["../b", "../../components/host/b", "../../setup/exec"],
    refused: ["../../test/harness/stack", "../../offline/go"],
  },
  "setup/importer.ts": {
    allowed: ["../components/settings/b"],
    refused: ["../components/host/b", "../cli/b"],
  },
  "setup/tools/importer.ts": { allowed: ["../a"], refused: ["../../offline", "../../cli/b"] },
  "setup/tools/resolve.ts": { allowed: ["../../offline"], refused: ["../../offline/go", "../../cli/b"] },
  "offline/importer.ts": { allowed: ["../setup/exec"], refused: ["../cli/b", "../components/settings/b"] },
  "offline/command-plugin/importer.ts": { refused: ["../go", "../../setup/exec"] },
  "test/importer.ts": { allowed: ["../cli/b", "../offline/go", "../components/host/b"] },
};

const folder = mkdtempSync(join(tmpdir(), "imports-"));
afterAll(() => rmSync(folder, { recursive: true }));
const found: string[] = [];

beforeAll(async () => {
  const write = (name: string, text: string) => {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name), text);
  };
  for (const [name, { allowed = [], refused = [] }] of Object.entries(FILES)) {
    // One a line: the number of the line tells which it was.
    const lines = [...allowed, ...refused].map(
      (path, index) => `export type { T${index} } from "${path}";\n`,
    );
    write(name, lines.join(""));
  }
  write("setup/one.ts", 'import type { Two } from "./two";\nexport type One = Two | 1;\n');
  write("setup/two.ts", 'import type { One } from "./one";\nexport type Two = One | 2;\n');
  copyFileSync(join(projectRoot, "biome.imports.jsonc"), join(folder, "biome.imports.jsonc"));
  const { stdout } = await exec(
    join(projectRoot, "node_modules/.bin/biome"),
    ["lint", "--config-path=biome.imports.jsonc", "--reporter=json", "--max-diagnostics=none", "."],
    { cwd: folder, reject: false },
  );
  interface Diagnostic {
    category: string;
    location: { path: string | { file: string }; start?: { line: number } };
  }
  for (const { category, location } of JSON.parse(stdout).diagnostics as Diagnostic[]) {
    const file = typeof location.path === "string" ? location.path : location.path.file;
    const line = category.endsWith("noRestrictedImports") ? location.start?.line : "circle";
    found.push(`${file.replace(/^\.\//, "")} ${line}`);
  }
}, 60_000);

it("lets each folder import what the table of CONTRIBUTING.md says, types included, and nobody in a circle", () => {
  const expected = Object.entries(FILES).flatMap(([name, { allowed = [], refused = [] }]) =>
    refused.map((_, index) => `${name} ${allowed.length + index + 1}`),
  );
  expect(found.sort()).toEqual([...expected, "setup/one.ts circle", "setup/two.ts circle"].sort());
});
