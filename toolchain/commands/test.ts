import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { projectRoot } from "../backend";
import { exec } from "../exec";
import { createReporter } from "../report";
import { UserError } from "../user-error";
import { prepare } from "./setup";

/** The projects of vitest.config.mts that belong to each kind. */
const kinds = {
  unit: ["unit"],
  integration: ["integration"],
  e2e: ["e2e", "arm64"],
  arm64: ["arm64"],
};
type Kind = keyof typeof kinds;

/**
 * `npm test [unit|integration|e2e|arm64]`: style and types first, then the tests, arm64 beside e2e. The last line
 * counts them.
 */
export async function runTests(asked?: string): Promise<void> {
  const wanted = wantedKinds(asked);
  const report = createReporter();
  report.say(`Running: style, types, ${wanted.join(", ")} tests.`);

  const run = { cwd: projectRoot, preferLocal: true, stdio: "inherit" } as const;
  if (asked === undefined) {
    await report.step("Style (biome)", () => exec("biome", ["check", "."], run));
    await report.step("Types (tsc)", () => exec("npm", ["run", "--silent", "typecheck"], run));
  }
  let passed = 0;
  let failed = 0;
  for (const kind of wanted) {
    if (kind !== "unit") await prepare("emulated", report);
    const counts = await report.step(`Tests: ${kind}`, () => runKind(kind));
    passed += counts.passed;
    failed += counts.failed;
  }
  process.exitCode = failed > 0 || passed === 0 ? 1 : 0;
  console.log(`${passed} passed, ${failed} failed`);
}

function wantedKinds(asked: string | undefined): Kind[] {
  if (asked === undefined) return ["unit", "integration", "e2e"];
  const known = Object.keys(kinds) as Kind[];
  const found = known.find((kind) => kind === asked);
  if (found === undefined) throw new UserError(`There are no ${asked} tests. Kinds: ${known.join(", ")}.`);
  return [found];
}

/** Runs one kind; the counts are vitest's own. A run that breaks off counts as one failure at least. */
async function runKind(kind: Kind): Promise<{ passed: number; failed: number }> {
  const folder = await mkdtemp(join(tmpdir(), "microsandbox-test-"));
  try {
    const file = join(folder, "results.json");
    const projects = kinds[kind].flatMap((project) => ["--project", project]);
    const { exitCode } = await exec(
      "vitest",
      ["run", ...projects, "--reporter=verbose", "--reporter=json", `--outputFile.json=${file}`],
      { cwd: projectRoot, preferLocal: true, stdio: "inherit", reject: false },
    );
    const results = await readFile(file, "utf8").then(JSON.parse, () => ({}));
    const counts = { passed: results.numPassedTests ?? 0, failed: results.numFailedTests ?? 0 };
    if (exitCode !== 0 && counts.failed === 0) counts.failed = 1;
    return counts;
  } finally {
    await rm(folder, { recursive: true });
  }
}
