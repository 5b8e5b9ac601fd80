import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { prepareAll } from "../cli/commands/setup";
import { ensurePackages } from "../setup/engine/apt";
import { exec } from "../setup/exec";
import { projectRoot } from "../setup/project";
import { createReporter, type Reporter } from "../setup/report";
import { runProgram } from "../setup/run-program";
import { ensureClusterTools, ensureTools } from "../setup/tools";
import { UserError } from "../setup/user-error";
import { controllerTools, controlPlaneTools } from "./harness/control-plane";
import { FAILURES_FILE, type Failure } from "./harness/failures-reporter";

/** The projects of vitest.config.mts that belong to each kind. */
const kinds = {
  unit: ["unit"],
  integration: ["integration"],
  e2e: ["e2e", "arm64"],
  arm64: ["arm64"],
  cluster: ["cluster"],
};
type Kind = keyof typeof kinds;

/** CI ends a run after 90 minutes. A test that runs at the limit may take 20 more, and what it leaves a few to remove. */
const LIMIT_MINUTES = 60;

/**
 * `npm test [unit|integration|e2e|arm64|cluster]`: style and types first, then the tests, arm64 beside e2e; those of
 * clusters only where they are asked for. What has not begun after {@link LIMIT_MINUTES} of a run of all kinds is skipped,
 * and says so. The last line counts what ran.
 */
async function runTests(asked?: string): Promise<void> {
  const wanted = wantedKinds(asked);
  const env = {
    TEST_CLIENTS: asked === "e2e" ? "all" : "",
    TEST_DEADLINE: asked === undefined ? String(Date.now() + LIMIT_MINUTES * 60_000) : "",
  };
  const report = createReporter();
  report.say(`Running: style, types, ${wanted.join(", ")} tests.`);

  const run = { cwd: projectRoot, preferLocal: true, stdio: "inherit" } as const;
  if (asked === undefined) {
    await report.step("Style (biome)", () => exec("npm", ["run", "--silent", "lint"], run));
    await report.step("Types (tsc)", () => exec("npm", ["run", "--silent", "typecheck"], run));
  }
  await getPackages(report);
  let passed = 0;
  let failed = 0;
  const failures: Failure[] = [];
  for (const kind of wanted) {
    if (kind !== "unit") await prepareAll("emulated", report);
    if (kind === "cluster") {
      await ensureClusterTools([...controlPlaneTools, ...controllerTools, "kubectl"], report);
      await ensureTools(report, { kubernetes: true });
    }
    const results = await report.step(`Tests: ${kind}`, () => runKind(kind, env));
    passed += results.passed;
    failed += results.failed;
    failures.push(...results.failures);
  }
  console.log(summary(failures));
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

/**
 * Gets what many tests use besides what the stack itself needs: an SSH server, by which this machine is a host, and the
 * attributes of files. Tests that need what is not there are skipped, and say so.
 */
async function getPackages(report: Reporter): Promise<void> {
  try {
    await ensurePackages(report, ["openssh-server", "attr"], "tests");
  } catch (error) {
    report.say(`  ${error instanceof Error ? error.message : String(error)}`);
  }
}

interface Results {
  passed: number;
  failed: number;
  failures: Failure[];
}

/** Runs one kind; the counts are vitest's own. A run that breaks off counts as one failure at least. */
async function runKind(kind: Kind, env: Record<string, string>): Promise<Results> {
  const folder = await mkdtemp(join(tmpdir(), "microsandbox-test-"));
  try {
    const [file, failuresFile] = [join(folder, "results.json"), join(folder, "failures.json")];
    const projects = kinds[kind].flatMap((project) => ["--project", project]);
    const reporters = ["verbose", "json", join(projectRoot, "test/harness/failures-reporter.ts")];
    const { exitCode } = await exec(
      "vitest",
      ["run", ...projects, ...reporters.map((name) => `--reporter=${name}`), `--outputFile.json=${file}`],
      {
        cwd: projectRoot,
        preferLocal: true,
        stdio: "inherit",
        reject: false,
        env: { ...env, [FAILURES_FILE]: failuresFile },
      },
    );
    const counts = await readFile(file, "utf8").then(JSON.parse, () => ({}));
    const failures: Failure[] = await readFile(failuresFile, "utf8").then(JSON.parse, () => []);
    const failed: number = counts.numFailedTests ?? 0;
    if (exitCode !== 0 && failures.length === 0)
      failures.push({ name: kind, messages: [`vitest ended with ${exitCode}`] });
    return {
      passed: counts.numPassedTests ?? 0,
      failed: exitCode !== 0 && failed === 0 ? 1 : failed,
      failures,
    };
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** How many failures are shown with what they say: later ones often follow from the first. */
const DETAILED = 4;

/**
 * What failed once more, next to the counts: what vitest said of it is thousands of lines above. The names of all come
 * first, then the first failures in detail, so that the end of a long log holds the cause.
 */
function summary(failures: Failure[]): string {
  const later = failures.slice(DETAILED).map(({ name, messages }) => {
    const [first = ""] = messages.join("\n").split("\n");
    return `✗ ${name}: ${first}`.slice(0, 300);
  });
  const first = failures.slice(0, DETAILED).map(({ name, messages }) => {
    const lines = messages.join("\n").split("\n");
    // The end of a command's output says why it failed, its beginning what it did.
    const shown = lines.length > 40 ? [...lines.slice(0, 8), "…", ...lines.slice(-32)] : lines;
    return [`✗ ${name}`, ...shown.map((line) => `    ${line}`)].join("\n");
  });
  return [...later, ...first].join("\n");
}

void runProgram(() => runTests(process.argv[2]));
