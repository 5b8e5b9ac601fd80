import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { exec } from "../../setup/exec";
import { projectRoot } from "../../setup/project";
import { silentReporter } from "../../setup/report";
import { ensureTools } from "../../setup/tools";

const folder = mkdtempSync(join(tmpdir(), "microsandbox-registries-"));
const calls = join(folder, "calls");
let environment: Record<string, string>;

/** An engine that takes down what it is asked for: containers that come and go, and settings that a server gets. */
const docker = `#!/bin/sh
case "$*" in
*registries) echo "settings $(cat)" ;;
*) echo "container: $*" ;;
esac >>"${calls}"
`;

beforeAll(async () => {
  const { binDir } = await ensureTools(silentReporter);
  writeFileSync(join(folder, "docker"), docker, { mode: 0o755 });
  environment = {
    PATH: [folder, binDir, process.env.PATH].join(delimiter),
    PULUMI_HOME: join(folder, "home"),
    PULUMI_BACKEND_URL: `file://${folder}`,
    PULUMI_CONFIG_PASSPHRASE: "",
    PULUMI_SKIP_UPDATE_CHECK: "true",
  };
  await pulumi({}, "stack", "init", "test");
});
afterAll(() => rmSync(folder, { recursive: true }));

const pulumi = (variables: Record<string, string>, ...words: string[]) =>
  exec("pulumi", [...words, "--non-interactive"], {
    cwd: join(projectRoot, "test/integration/programs/registries"),
    env: { ...environment, ...variables },
    all: true,
    stdin: "ignore",
  });

/** Deploys, and says what the engine was asked for meanwhile. */
async function up(variables: Record<string, string>): Promise<string[]> {
  writeFileSync(calls, "");
  await pulumi(variables, "up", "--yes", "--skip-preview", "--stack", "test");
  return readFileSync(calls, "utf8").trim().split("\n");
}

const given = (allowed: string) =>
  expect.stringMatching(new RegExp(`^settings .*"allowed":\\["${allowed}"\\]`));
const removed = "container: rm";
const started = "container: run";

it("holds the allow-list while the container is replaced, and takes it from a server only when it is set no more", async () => {
  const allowed = { TEST_ALLOWED: "a.test" };
  expect(await up({ ...allowed, TEST_CONTAINER: "1", TEST_EARLIER: "1" })).toEqual([
    started,
    given("a.test"),
  ]);
  // What an earlier version has deployed, too: it took the settings away first.
  for (const TEST_CONTAINER of ["2", "3"])
    expect(await up({ ...allowed, TEST_CONTAINER })).toEqual([removed, started, given("a.test")]);
  expect(await up({ TEST_ALLOWED: "b.test", TEST_CONTAINER: "3" })).toEqual([given("b.test")]);
  expect(await up({ TEST_ALLOWED: "b.test", TEST_CONTAINER: "3" })).toEqual([""]);
  expect(await up({ TEST_CONTAINER: "3" })).toEqual(["settings {}"]);
});
