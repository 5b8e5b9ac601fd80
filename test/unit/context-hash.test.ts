import { chmodSync, cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { contextHash } from "../../components/context-hash";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "context-"));
  mkdirSync(join(folder, "sub"));
  writeFileSync(join(folder, "Dockerfile"), "FROM scratch\n");
  writeFileSync(join(folder, "sub", "file"), "content");
});
afterEach(() => rmSync(folder, { recursive: true }));

it("is the same where the checkout has moved", () => {
  const elsewhere = `${folder}-moved`;
  cpSync(folder, elsewhere, { recursive: true });
  expect(contextHash(elsewhere)).toBe(contextHash(folder));
  rmSync(elsewhere, { recursive: true });
});

it.each<[string, () => void]>([
  ["bytes", () => writeFileSync(join(folder, "sub", "file"), "Content")],
  ["a name", () => cpSync(join(folder, "sub", "file"), join(folder, "sub", "other"))],
  ["the right to run", () => chmodSync(join(folder, "Dockerfile"), 0o755)],
  [
    "what stands in which file",
    () => {
      writeFileSync(join(folder, "Dockerfile"), "FROM scratch\nc");
      writeFileSync(join(folder, "sub", "file"), "ontent");
    },
  ],
])("changes with %s", (_what, change) => {
  const before = contextHash(folder);
  change();
  expect(contextHash(folder)).not.toBe(before);
});

it("takes no notice of what the image does not hold", () => {
  const before = contextHash(folder);
  mkdirSync(join(folder, "sub", "node_modules"));
  writeFileSync(join(folder, "sub", "node_modules", "x"), "");
  expect(contextHash(folder)).toBe(before);
});
