import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";

const root = join(__dirname, "../../..");
const page = readFileSync(join(root, "docs/security.md"), "utf8");
const promises = page.split("\n## Promises\n")[1]?.split("\n## ")[0] ?? "";

it("every promise of docs/security.md names a test that is there", () => {
  const rows = promises.split("\n").filter((line) => /^\| (?!promise|---)/.test(line));
  expect(rows.length).toBeGreaterThan(15);
  for (const row of rows) {
    const named = [...row.matchAll(/`(test\/[\w./-]+)`/g)].map(([, file = ""]) => file);
    if (!row.includes("the same two")) expect(named.length, row).toBeGreaterThan(0);
    for (const file of named) expect(existsSync(join(root, file)), file).toBe(true);
  }
});
