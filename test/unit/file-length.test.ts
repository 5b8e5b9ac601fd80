import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { projectRoot } from "../../setup/project";

/** Lines that a file may have: "about 250" is not a line more or less. */
const LIMIT = 275;
const folders = ["components", "cli", "setup", "offline", "emulated-host", "docker", "docs"];

it("no file of the product is longer than a reader can hold", () => {
  const files = folders
    .flatMap((folder) =>
      readdirSync(join(projectRoot, folder), { recursive: true, encoding: "utf8" }).map((name) =>
        join(folder, name),
      ),
    )
    .filter((file) => /\.(ts|cjs|mjs|sh)$/.test(file) && !/node_modules|\/dist\//.test(file));
  expect(files.length).toBeGreaterThan(200);
  const lines = (file: string) => readFileSync(join(projectRoot, file), "utf8").split("\n").length;
  const long = files.map((file) => [file, lines(file)] as const).filter(([, count]) => count > LIMIT);
  expect(long).toEqual([]);
});
