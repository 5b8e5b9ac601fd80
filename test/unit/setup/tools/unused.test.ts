import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, expect, it } from "vitest";
import { createReporter, silentReporter } from "../../../../setup/report";
import { makeEntry } from "../../../../setup/tools/cache";
import { noteUse, removeUnused } from "../../../../setup/tools/unused";

const DAY = 24 * 3_600_000;
let cache: string;
beforeEach(() => {
  cache = mkdtempSync(join(tmpdir(), "tools-unused-"));
});
afterEach(() => rmSync(cache, { recursive: true, force: true }));

const now = Date.now();
/** An entry that was used so many days ago. */
function entry(name: string, days: number, tools?: string[]): void {
  mkdirSync(join(cache, name), { recursive: true });
  if (tools) {
    const made = tools.map((tool) => [tool, { path: join(cache, tool, "bin") }]);
    writeFileSync(join(cache, name, "tools.json"), JSON.stringify(Object.fromEntries(made)));
  }
  const at = (now - days * DAY) / 1000;
  utimesSync(join(cache, name), at, at);
}

it("an older version that was not used for 30 days goes, and nothing else, which is said", async () => {
  const days = fc.integer({ min: 0, max: 90 }).filter((each) => each !== 30);
  const versions = fc.uniqueArray(fc.record({ minor: fc.integer({ min: 0, max: 9 }), days }), {
    selector: ({ minor }) => minor,
    minLength: 1,
    maxLength: 4,
  });
  await fc.assert(
    fc.asyncProperty(versions, versions, days, async (pulumi, docker, set) => {
      rmSync(cache, { recursive: true, force: true });
      for (const { minor, days } of pulumi) entry(`pulumi-3.${minor}.0-official`, days);
      for (const { minor, days } of docker) entry(`pulumi-resource-docker-5.${minor}.0-0123456789ab`, days);
      const part = `pulumi-3.${pulumi[0]?.minor}.0-official`;
      entry("set-0123456789abcdef", set, [part]);
      entry("set-fedcba9876543210", 0, []);
      for (const other of ["workspaces", ".lock-pulumi-3.0.0-official", "pulumi-3.0.0-official.tmp-0a0b0c0d"])
        entry(other, 90);
      const said: string[] = [];
      const removed = await removeUnused(cache, createReporter({ write: (line) => said.push(line) }), now);
      const last = (all: typeof pulumi) => Math.min(...all.map((each) => each.days));
      for (const [all, name] of [
        [pulumi, (minor: number) => `pulumi-3.${minor}.0-official`],
        [docker, (minor: number) => `pulumi-resource-docker-5.${minor}.0-0123456789ab`],
      ] as const)
        for (const { minor, days } of all) {
          if (days <= 30 || (name(minor) === part && set <= 30)) expect(removed).not.toContain(name(minor));
          else if (days > last(all)) expect(removed).toContain(name(minor));
        }
      for (const all of [pulumi, docker]) expect(all.length).toBeGreaterThan(0);
      expect(removed.includes("set-0123456789abcdef")).toBe(set > 30);
      expect(readdirSync(cache).filter((name) => /^pulumi-\d.*official$/.test(name)).length).toBeGreaterThan(
        0,
      );
      for (const other of ["workspaces", ".lock-pulumi-3.0.0-official", "pulumi-3.0.0-official.tmp-0a0b0c0d"])
        expect(existsSync(join(cache, other))).toBe(true);
      expect(said.join("")).toBe(
        removed.length > 0 ? `Removed from ${cache}, unused for 30 days: ${removed.join(", ")}` : "",
      );
    }),
  );
});

it("a use is noted, when an entry is asked for", async () => {
  const path = await makeEntry(cache, "pulumi-3.1.0-official", silentReporter, async () => {});
  entry("pulumi-3.1.0-official", 60);
  entry("pulumi-3.2.0-official", 0);
  await makeEntry(cache, "pulumi-3.1.0-official", silentReporter, async () => {});
  expect(await removeUnused(cache, silentReporter)).toEqual([]);
  entry("pulumi-3.1.0-official", 60);
  expect(await removeUnused(cache, silentReporter)).toEqual(["pulumi-3.1.0-official"]);
  expect(existsSync(path)).toBe(false);
  expect(() => noteUse(cache, "none")).not.toThrow();
});
