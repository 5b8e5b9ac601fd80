import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";

const tests = join(__dirname, "../..");
const page = readFileSync(join(tests, "../docs/operations.md"), "utf8");
const [, table = ""] = page.split("| fault | what the stack does | test |\n");
const rows = table
  .split("\n\n")[0]
  ?.split("\n")
  .slice(1)
  .map((row) => row.split(" | "));

it("names thirty faults at least, each with a test that exists", () => {
  expect(rows?.length).toBeGreaterThanOrEqual(30);
  for (const [fault, ...rest] of rows ?? []) {
    const named = [...(rest.at(-1) ?? "").matchAll(/`([^`]+)`/g)].map(([, name]) => name);
    if (named.length === 0) expect(rest.at(-1), fault).toMatch(/^measured with /);
    for (const name of named)
      expect(existsSync(join(tests, `${name}.test.ts`)), `${fault}: ${name}`).toBe(true);
  }
});
