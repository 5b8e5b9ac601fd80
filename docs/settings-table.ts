/**
 * Writes the table of settings, made from the schema, into the page that shows it.
 *
 *     npx tsx docs/settings-table.ts           write
 *     npx tsx docs/settings-table.ts --check   write nothing; exit 1 where the page differs
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import type { z } from "zod";
import { settingMeta } from "../components/settings/fields";
import { type StackSettings, settingsSchema } from "../components/settings/schema";
import { fieldsOf } from "../components/settings/text-form";
import { defaultText } from "../components/settings/wrong-fields";

const START = "<!-- settings:start -->";
const END = "<!-- settings:end -->";

/** The page that shows the table, between the two marks. */
export const page = join(__dirname, "configuration.md");

/** One row of the settings table. */
export interface SettingRow {
  /** Without the namespace; a field of a structured setting is written `volumes.keep`. */
  key: string;
  /** What is accepted, and the unit of it. */
  type: string;
  /** As it is typed; empty where there is none. */
  default: string;
  description: string;
  /** A value other than the default, as it is typed. */
  example: string;
}

/** All settings in the order of the schema, for the documentation; parts follow the setting that they are of. */
export function settingsTable(): SettingRow[] {
  const rows: SettingRow[] = [];
  for (const key of Object.keys(settingsSchema.shape) as (keyof StackSettings)[]) {
    rows.push(settingRow(key, settingsSchema.shape[key]));
    for (const [name, part] of Object.entries(fieldsOf(key))) rows.push(settingRow(`${key}.${name}`, part));
  }
  return rows;
}

function settingRow(key: string, schema: z.core.$ZodType): SettingRow {
  const meta = settingMeta.get(schema);
  if (meta === undefined) throw new Error(`the setting ${key} has no description`);
  const { accepts, description, example } = meta;
  return { key, type: accepts, default: defaultText(schema) ?? "", description, example };
}

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
export function withTable(text: string): string | undefined {
  const [start, end] = [text.indexOf(START), text.indexOf(END)];
  if (start < 0 || end < start) return undefined;
  return `${text.slice(0, start + START.length)}\n${markdownTable()}\n${text.slice(end)}`;
}

function main(checkOnly: boolean): void {
  const name = relative(process.cwd(), page);
  const text = readFileSync(page, "utf8");
  const wanted = withTable(text);
  if (wanted === undefined) {
    console.error(`${name} has no ${START} and ${END}: the table of settings belongs between them.`);
    process.exitCode = 1;
  } else if (wanted !== text && checkOnly) {
    console.error(
      `${name} does not show the settings as they are. To update it: npx tsx docs/settings-table.ts`,
    );
    process.exitCode = 1;
  } else if (wanted !== text) {
    writeFileSync(page, wanted);
    console.log(`${name}: table of settings written`);
  }
}

if (require.main === module) main(process.argv.includes("--check"));
