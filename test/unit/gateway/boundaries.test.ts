import { copyFileSync, mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { execa } from "execa";
import { beforeAll, expect, test } from "vitest";
import { projectRoot } from "../../../setup/project";
import { temporaryFolder } from "./harness";

/** Files below docker/gateway/src that break each of the server's own rules once, and files that break none. */
const FILES = {
  "errors.ts": "export const e = 1;",
  "http/server.ts": 'import type { W } from "../backends/msb/works";\nexport type S = W;',
  "http/fine.ts":
    'import { k } from "../keys/check";\nimport { m } from "../sandboxes/model";\nexport const f = [k, m];',
  "keys/check.ts": "export const k = 1;",
  "keys/bad.ts": 'import type { S } from "../http/server";\nexport type K = S;',
  "limits/bad.ts": 'import { w } from "../backends/msb/works";\nexport const l = w;',
  "sandboxes/model.ts": 'import { e } from "../errors";\nexport const m = e;',
  "sandboxes/bad.ts": 'import type { W } from "../backends/msb/works";\nexport type M = W;',
  "backends/msb/works.ts":
    'import { m } from "../../sandboxes/model";\nexport type W = 1;\nexport const w = m;',
  "backends/msb/bad.ts": 'import type { K } from "../../keys/bad";\nexport type B = K;',
  "backends/remote/fine.ts":
    'import { e } from "../../errors";\nimport { m } from "../../sandboxes/model";\nexport const r = [e, m];',
  "backends/remote/bad.ts": 'import type { W } from "../msb/works";\nexport type R = W;',
  "backends/remote/settings.ts": 'import { k } from "../../keys/check";\nexport const s = k;',
  "device-plugin/fine.ts":
    'import { e } from "../errors";\nimport { m } from "./bad";\nexport const d = [e, m];',
  "device-plugin/bad.ts": 'import { m } from "../sandboxes/model";\nexport { m };',
  "backends/servers/names.ts": "export const n = 1;",
  "backends/servers/bad.ts": 'import { p } from "../../kubernetes/fine";\nexport const q = p;',
  "kubernetes/fine.ts":
    'import { n } from "../backends/servers/names";\nimport { e } from "../errors";\nexport const p = [n, e];',
  "kubernetes/bad.ts": 'import { k } from "../keys/check";\nexport const b = k;',
  "limits/composed.ts": 'import { app } from "../app";\nexport const c = app;',
  "app.ts":
    'import { w } from "./backends/msb/works";\nimport { f } from "./http/fine";\nexport const app = [w, f];',
  "main.ts": 'import { app } from "./app";\nconsole.log(app);',
  "files/one.ts": 'import type { Two } from "./two";\nexport type One = Two | 1;',
  "files/two.ts": 'import type { One } from "./one";\nexport type Two = One | 2;',
  "files/signals.ts": "export const s = AbortSignal.any([]);",
  "files/floating.ts":
    "const work = async (): Promise<void> => undefined;\nexport class A {\n  private async run(): Promise<void> {}\n" +
    "  start(): void {\n    this.run();\n    work().then(() => 1);\n    void this.run();\n    work().catch(() => undefined);\n  }\n}",
};

let found: string[];
beforeAll(async () => {
  const folder = temporaryFolder();
  for (const [name, text] of Object.entries(FILES)) {
    const path = join(folder, "docker/gateway/src", name);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, `${text}\n`);
  }
  for (const name of ["biome.gateway.jsonc", "no-abort-signal-any.grit"])
    copyFileSync(join(projectRoot, name), join(folder, name));
  const { stdout } = await execa(
    join(projectRoot, "node_modules/.bin/biome"),
    ["lint", "--config-path=biome.gateway.jsonc", "--reporter=json", "docker/gateway/src"],
    { cwd: folder, reject: false },
  );
  type Diagnostic = { category: string; location: { path: string | { file: string } } };
  const { diagnostics } = JSON.parse(stdout) as { diagnostics: Diagnostic[] };
  found = diagnostics.map(({ category, location: { path } }) => {
    const file = typeof path === "string" ? path : path.file;
    return `${file.replace(/^.*?src\//, "")} ${category.split("/").at(-1)}`;
  });
}, 60_000);

test("who may import whom, circles of types, promises that nobody waits for, and signals that may get lost", () => {
  expect(found.sort()).toEqual([
    "backends/msb/bad.ts noRestrictedImports",
    "backends/remote/bad.ts noRestrictedImports",
    "backends/remote/settings.ts noRestrictedImports",
    "backends/servers/bad.ts noRestrictedImports",
    "device-plugin/bad.ts noRestrictedImports",
    "files/floating.ts noFloatingPromises",
    "files/floating.ts noFloatingPromises",
    "files/one.ts noImportCycles",
    "files/signals.ts plugin",
    "files/two.ts noImportCycles",
    "http/server.ts noRestrictedImports",
    "keys/bad.ts noRestrictedImports",
    "kubernetes/bad.ts noRestrictedImports",
    "limits/bad.ts noRestrictedImports",
    "limits/composed.ts noRestrictedImports",
    "sandboxes/bad.ts noRestrictedImports",
  ]);
});
