import { spawn } from "node:child_process";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { exec } from "../../../setup/exec";

const folder = mkdtempSync(join(tmpdir(), "microsandbox-bootstrap-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** What a user may have set, here or in npm's files. */
const environments = {
  clean: {},
  production: { NODE_ENV: "production" },
  omitDev: { npm_config_omit: "dev" },
  omitOptional: { npm_config_omit: "optional" },
  noHome: { HOME: undefined, LC_ALL: "C" },
} satisfies Record<string, NodeJS.ProcessEnv>;
type Environment = keyof typeof environments;

/**
 * A checkout whose packages are its own: tsx (for development), one to run, one optional for this machine, and one that
 * is a folder of the checkout.
 */
beforeAll(async () => {
  const pack = async (name: string, fields: object, main: string) => {
    const source = join(folder, "sources", name);
    mkdirSync(source, { recursive: true });
    writeFileSync(
      join(source, "package.json"),
      JSON.stringify({ name, version: "1.0.0", main: "index.mjs", ...fields }),
    );
    writeFileSync(join(source, "index.mjs"), main);
    await exec("npm", ["pack", "--pack-destination", join(folder, "template")], { cwd: source });
    return `file:${name}-1.0.0.tgz`;
  };
  mkdirSync(join(folder, "template"));
  const says = "console.log(JSON.stringify(process.argv.slice(2))); process.exit(0);";
  const devDependencies = { tsx: await pack("tsx", {}, says) };
  const dependencies = { runs: await pack("runs", {}, ""), linked: "file:linked" };
  mkdirSync(join(folder, "template/linked"));
  writeFileSync(
    join(folder, "template/linked/package.json"),
    JSON.stringify({ name: "linked", version: "1.2.3" }),
  );
  const here = { os: [process.platform], cpu: [process.arch] };
  const optionalDependencies = { native: await pack("native", here, "") };
  const project = { name: "p", version: "1.0.0", dependencies, devDependencies, optionalDependencies };
  writeFileSync(join(folder, "template/package.json"), JSON.stringify(project));
  await exec("npm", ["install", "--package-lock-only", "--offline"], { cwd: join(folder, "template") });
  mkdirSync(join(folder, "template/cli"));
  cpSync("cli/bootstrap.mjs", join(folder, "template/cli/bootstrap.mjs"));
}, 60_000);

let count = 0;
function checkout(path = `checkout-${count++}`): string {
  cpSync(join(folder, "template"), join(folder, path), { recursive: true });
  return join(folder, path);
}

const run = (root: string, environment: NodeJS.ProcessEnv = {}, words = ["up"], cwd = root) =>
  exec("node", [join(root, "cli/bootstrap.mjs"), ...words], { cwd, env: environment, reject: false });
const isThere = (root: string, name: string) => existsSync(join(root, "node_modules", name, "package.json"));
const all = (root: string) => ["tsx", "runs", "native", "linked"].every((name) => isThere(root, name));

describe("the packages that the scripts run on", () => {
  it("are there whatever npm is told to leave out, in any order of commands", {
    timeout: 120_000,
  }, async () => {
    const environment = fc.constantFrom(...(Object.keys(environments) as Environment[]));
    const others = [
      ["prune", "--omit=dev"],
      ["ci", "--omit=dev", "--omit=optional"],
      ["install", "--omit=optional"],
      ["ci"],
    ];
    const step = fc.record({ environment, npm: fc.option(fc.constantFrom(...others), { nil: undefined }) });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 4 }), async (steps) => {
        const root = checkout();
        for (const { environment, npm } of steps) {
          if (npm) await exec("npm", [...npm, "--offline"], { cwd: root });
          const { exitCode, stdout, stderr } = await run(root, environments[environment]);
          expect({ exitCode, stdout }, stderr).toMatchObject({
            exitCode: 0,
            stdout: expect.stringContaining('"up"'),
          });
          expect(all(root)).toBe(true);
        }
      }),
      { numRuns: 5 },
    );
  });

  it("are installed again where one went, and not where nothing did", async () => {
    const root = checkout();
    const first = `First run: installing what package-lock.json names into ${join(root, "node_modules")} `;
    expect((await run(root)).stderr).toContain(first);
    expect((await run(root)).stderr).toBe("");
    rmSync(join(root, "node_modules/runs"), { recursive: true });
    rmSync(join(root, "node_modules/.installed"));
    expect((await run(root)).stderr).toContain("The npm packages have changed: installing");
    rmSync(join(root, "node_modules"), { recursive: true });
    expect((await run(root)).stderr).toContain(first);
    const lock = JSON.parse(readFileSync(join(root, "package-lock.json"), "utf8"));
    writeFileSync(join(root, "package-lock.json"), JSON.stringify({ ...lock, version: "1.0.1" }));
    // Another lockfile with the same packages.
    expect((await run(root)).stderr).toBe("");
  });

  it("leave no stamp where npm fails, and the next command works", async () => {
    const root = checkout();
    const tarball = join(root, "tsx-1.0.0.tgz");
    renameSync(tarball, `${tarball}.away`);
    const failed = await run(root, {
      npm_config_cache: join(root, "empty"),
      npm_config_offline: "true",
    });
    expect([failed.exitCode, failed.stderr]).toEqual([1, expect.stringContaining("npm ci failed")]);
    renameSync(`${tarball}.away`, tarball);
    expect((await run(root)).exitCode).toBe(0);
  });

  it("of another checkout are left alone", async () => {
    const [root, other] = [checkout(), checkout()];
    await exec("npm", ["ci", "--omit=dev", "--offline"], { cwd: other });
    symlinkSync(join(other, "node_modules"), join(root, "node_modules"));
    const { exitCode, stderr } = await run(root);
    expect([exitCode, stderr]).toEqual([1, expect.stringMatching(/is a link, and lacks packages/)]);
    expect(isThere(other, "tsx")).toBe(false);
  });
});

it.each([
  [
    ["up", "--", "--stack", "x"],
    ["up", "--stack", "x"],
  ],
  [
    ["up", "--stack", "x"],
    ["up", "--stack", "x"],
  ],
  [
    ["pulumi", "config", "set", "--", "a", "-1"],
    ["pulumi", "config", "set", "--", "a", "-1"],
  ],
])("hands over the words of npm and pnpm: %j", async (words, expected) => {
  const { stdout } = await run(checkout(), {}, words);
  expect(JSON.parse(stdout).slice(-expected.length)).toEqual(expected);
});

it("fails where the command can't be started, and says why", async () => {
  const root = checkout();
  await run(root);
  writeFileSync(join(root, "no-node.cjs"), 'process.execPath = "/none/node";');
  const { exitCode, stderr } = await run(root, { NODE_OPTIONS: `--require ${join(root, "no-node.cjs")}` });
  expect([exitCode, stderr]).toEqual([
    1,
    expect.stringMatching(/^The command could not be started: .*ENOENT[\s\S]*run the command again/),
  ]);
});

it("fails where the command was killed", async () => {
  const root = checkout();
  await run(root);
  writeFileSync(join(root, "node_modules/tsx/index.mjs"), 'process.kill(process.pid, "SIGKILL");');
  expect((await run(root)).exitCode).toBe(1);
});

it.each(
  (["SIGINT", "SIGTERM", "SIGHUP"] as const).flatMap((signal) => [
    { signal, to: "all, as a terminal does," },
    { signal, to: "this process alone, as a service manager does," },
  ]),
)("$signal to $to reaches the command, which ends by itself", async ({ signal, to }) => {
  const root = checkout();
  await run(root);
  const command = `setInterval(() => {}, 1e3);
    process.on("${signal}", () => setTimeout(() => process.exit(7), 50));
    console.log("working");
    await new Promise(() => {});`;
  writeFileSync(join(root, "node_modules/tsx/index.mjs"), command);
  const npm = spawn("node", [join(root, "cli/bootstrap.mjs"), "up"], { cwd: root, detached: true });
  const ended = new Promise((resolve) => npm.once("exit", (...how) => resolve(how)));
  await new Promise((resolve) => npm.stdout.once("data", resolve));
  const pid = npm.pid ?? 0;
  process.kill(to.startsWith("all") ? -pid : pid, signal);
  expect(await ended).toEqual([7, null]);
});

it("works in any folder, from any other, or says in a sentence that it can't", {
  timeout: 120_000,
}, async () => {
  const name = fc
    .string({ unit: "grapheme", minLength: 1, maxLength: 12 })
    .map((text) => `${text.replace(/[/\0]/g, "_")}x`);
  const special = fc.constantFrom("c#", "100%", "a b", "%zz", "ü🐳", "q'\"$(x)`", "a?b", "-rf");
  await fc.assert(
    fc.asyncProperty(fc.oneof(name, special), async (part) => {
      const root = checkout(`paths-${count++}/${part}`);
      const { exitCode, stdout, stderr } = await run(root, {}, ["up"], "/");
      if (part.includes("?")) {
        expect([exitCode, stderr]).toEqual([1, expect.stringContaining('has a "?"')]);
        expect(existsSync(join(root, "node_modules"))).toBe(false);
      } else
        expect({ exitCode, stdout }, stderr).toMatchObject({
          exitCode: 0,
          stdout: expect.stringContaining('"up"'),
        });
    }),
    { numRuns: 10 },
  );
});
