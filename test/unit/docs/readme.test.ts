import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { expect, it } from "vitest";
import { settingsTable } from "../../../docs/settings-table";
import { OLDEST_GO } from "../../../offline/go";
import { goRecipes } from "../../../offline/recipes";
import { pins } from "../../../setup/tools/pins";

const root = join(__dirname, "../../..");
const read = (file: string) => readFileSync(join(root, file), "utf8");
const pages = [
  "README.md",
  "CONTRIBUTING.md",
  ...readdirSync(join(root, "docs")).map((file) => `docs/${file}`),
]
  .filter((file) => file.endsWith(".md"))
  .map((file) => [file, read(file)] as const);

/** The anchor that GitHub gives a heading. */
const anchor = (heading: string) =>
  heading
    .toLowerCase()
    .replace(/[^\p{L}\p{N} _-]/gu, "")
    .replaceAll(" ", "-");

it("README.md shows ten settings, each with its default", () => {
  const [, table = ""] = read("README.md").split(
    "| Setting | Default | What it does |\n| --- | --- | --- |\n",
  );
  const rows = (table.split("\n\n")[0] ?? "")
    .split("\n")
    .map((row) => row.split(" | ").slice(0, 2).join(" | "));
  const all = settingsTable().map(
    (setting) => `| \`${setting.key}\` | ${setting.default && `\`${setting.default}\``}`,
  );
  expect(rows).toHaveLength(10);
  expect(all).toEqual(expect.arrayContaining(rows));
});

it("one Go is asked for, in the README and in what fails without it", () => {
  const texts = ["README.md", "offline/go-build.ts", "offline/go.ts"].map(read);
  const named = texts.flatMap((text) => [...text.matchAll(/\bGo (\d+\.[\d.]*\d)(?= or newer)/g)]);
  expect(named.map(([, version]) => version)).toEqual([OLDEST_GO]);
});

it("README.md says which builds of Pulumi's tools the tests run with", () => {
  const [, supported = ""] = read("README.md").split("## What is supported");
  const [section = ""] = supported.split("\n## ");
  for (const { name, version } of [...Object.values(goRecipes), pins.command])
    expect(section, name).toContain(` ${version}`);
});

it("CONTRIBUTING.md's map has every folder, and every file of the components' own", () => {
  const [, map = ""] = read("CONTRIBUTING.md").split("## Folders");
  const [table = ""] = map.split("`npm run lint` enforces");
  const tracked = execFileSync("git", ["ls-files"], { cwd: root, encoding: "utf8" }).split("\n");
  const folders = new Set(tracked.flatMap((file) => (file.includes("/") ? [`${file.split("/")[0]}/`] : [])));
  const parts = tracked.flatMap((file) => /^components\/([^/]+)\//.exec(file)?.[1] ?? []);
  const own = tracked.flatMap((file) => /^components\/([^/]+\.ts)$/.exec(file)?.[1] ?? []);
  const wanted = [...folders, ...new Set(parts.map((part) => `components/${part}/`)), ...own];
  expect(wanted.filter((name) => !table.includes(name))).toEqual([]);
});

it.each(pages)("%s names npm scripts that exist", (_file, text) => {
  const scripts = JSON.parse(read("package.json")).scripts;
  const named = [...text.matchAll(/npm run (?:-s |--silent )?([\w:]+)/g)].map(([, name]) => name);
  expect(Object.keys(scripts)).toEqual(expect.arrayContaining(named));
});

it.each(pages)("%s links to pages and headings that exist", (file, text) => {
  for (const [, link = ""] of text.matchAll(/\]\(([^)]+)\)/g)) {
    if (/^https?:/.test(link)) continue;
    const [path, heading] = link.split("#");
    const target = path ? join(dirname(file), path) : file;
    expect(existsSync(join(root, target)), `${file}: ${link}`).toBe(true);
    if (!heading) continue;
    const headings = [...read(target).matchAll(/^#+ (.+)$/gm)].map(([, words = ""]) => anchor(words));
    expect(headings, `${file}: ${link}`).toContain(heading);
  }
});
