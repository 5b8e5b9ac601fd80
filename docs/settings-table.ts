/**
 * Writes the table of settings, made from the schema, into the pages that show it.
 *
 *     npx tsx docs/settings-table.ts           write
 *     npx tsx docs/settings-table.ts --check   write nothing; exit 1 where a page differs
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import { type SettingRow, settingsTable } from "../components/settings/stack-settings";

const START = "<!-- settings:start -->";
const END = "<!-- settings:end -->";

/** The pages that show the table, between the two marks. */
export const pages = ["README.md", "docs/configuration.md"].map((page) => join(__dirname, "..", page));

/** The settings as a Markdown table. */
export function markdownTable(rows: readonly SettingRow[] = settingsTable()): string {
  const lines = rows.map((row) => {
    const initial = row.default === "" ? "" : code(row.default);
    return `| ${code(row.key)} | ${initial} | ${code(row.example)} | ${cell(row.type)} | ${cell(row.description)} |`;
  });
  return [
    "| Setting | Default | Example | Accepted | What it does |",
    "| --- | --- | --- | --- | --- |",
    ...lines,
  ].join("\n");
}

function cell(text: string): string {
  return text.replaceAll("|", "\\|");
}

function code(text: string): string {
  const short = text.length > 40 ? `${text.slice(0, 8)}…` : text;
  return `\`${cell(short)}\``;
}

/** A page with the table between its marks; undefined where it has no marks. */
export function withTable(page: string): string | undefined {
  const [start, end] = [page.indexOf(START), page.indexOf(END)];
  if (start < 0 || end < start) return undefined;
  return `${page.slice(0, start + START.length)}\n${markdownTable()}\n${page.slice(end)}`;
}

function main(checkOnly: boolean): void {
  for (const path of pages.filter(existsSync)) {
    const name = relative(process.cwd(), path);
    const page = readFileSync(path, "utf8");
    const wanted = withTable(page);
    if (wanted === undefined) {
      console.error(`${name} has no ${START} and ${END}: the table of settings belongs between them.`);
      process.exitCode = 1;
    } else if (wanted !== page && checkOnly) {
      console.error(
        `${name} does not show the settings as they are. To mend: npx tsx docs/settings-table.ts`,
      );
      process.exitCode = 1;
    } else if (wanted !== page) {
      writeFileSync(path, wanted);
      console.log(`${name}: table of settings written`);
    }
  }
}

if (require.main === module) main(process.argv.includes("--check"));
