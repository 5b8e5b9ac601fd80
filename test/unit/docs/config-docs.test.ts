import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { markdownTable, page, settingsTable, withTable } from "../../../docs/settings-table";

test("docs/configuration.md shows the settings as they are", () => {
  const text = readFileSync(page, "utf8");
  expect(withTable(text), "to update it: npx tsx docs/settings-table.ts").toBe(text);
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
