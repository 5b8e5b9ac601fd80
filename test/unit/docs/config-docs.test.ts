import { existsSync, readFileSync } from "node:fs";
import { basename } from "node:path";
import { expect, test } from "vitest";
import { markdownTable, pages, settingsTable, withTable } from "../../../docs/settings-table";

test.each(pages)("%s shows the settings as they are", (path) => {
  if (!existsSync(path)) {
    expect(basename(path)).toBe("README.md");
    console.log("skipped: there is no README.md yet");
    return;
  }
  const page = readFileSync(path, "utf8");
  expect(withTable(page), "to mend: npx tsx docs/settings-table.ts").toBe(page);
});

test("the table has one row for each setting, and its cells keep to their columns", () => {
  const rows = markdownTable().split("\n").slice(2);
  expect(rows.map((row) => row.split(" | ")[0])).toEqual(settingsTable().map(({ key }) => `| \`${key}\``));
  for (const row of rows) expect(row.split(/(?<!\\)\|/)).toHaveLength(7);
});

test("only what is between the marks is replaced", () => {
  const page = "before\n<!-- settings:start -->\nold\n<!-- settings:end -->\nafter\n";
  const written = withTable(page);
  expect(written).toBe(`before\n<!-- settings:start -->\n${markdownTable()}\n<!-- settings:end -->\nafter\n`);
  expect(withTable(written ?? "")).toBe(written);
  expect(withTable("no marks")).toBeUndefined();
});
