import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { isNewEnough } from "../../../../offline/go";
import type { GoBuilder } from "../../../../offline/go-build";
import { hashFolder, npmVersion } from "../../../../offline/sources";
import type { Reporter } from "../../../../setup/report";
import { acceptCandidate, findCandidates, fingerprint, userPulumiHome } from "../../../../setup/tools/found";
import { officialReleases } from "../../../../setup/tools/official";
import { accepts, pins } from "../../../../setup/tools/pins";
import { findCached, resolveTools, sourcesFingerprint } from "../../../../setup/tools/resolve";
import { readSet, setEnvironment, writeSet } from "../../../../setup/tools/tool-set";
import { UserError } from "../../../../setup/user-error";

let work: string;
let cache: string;
let said: string[];
let report: Reporter;

beforeEach(() => {
  work = realpathSync(mkdtempSync(join(tmpdir(), "tools-")));
  cache = join(work, "cache");
  said = [];
  const say = (line: string) => void said.push(line);
  report = {
    say,
    step(name, fn) {
      say(name);
      return fn();
    },
    wait: (_what, fn) => fn(),
  };
});
afterEach(() => rmSync(work, { recursive: true, force: true }));

function executable(path: string, output = "1.0.0"): string {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, `#!/bin/sh\necho ${output}\n`);
  chmodSync(path, 0o755);
  return path;
}

describe("accepted versions", () => {
  it.each([
    ["3.259.0", "3.259.0", true],
    ["v3.259.0", "3.259.0", true],
    ["3.300.1", "3.259.0", true],
    ["3.258.9", "3.259.0", false],
    ["4.0.0", "3.259.0", false],
    ["2.999.0", "3.259.0", false],
    ["4.5.0", "1.2.1", false],
    ["1.2.0", "1.2.1", false],
    ["3.259.0-alpha.1", "3.259.0", false],
    ["3.259.0+dirty", "3.259.0", true],
    ["", "3.259.0", false],
    ["pulumi", "3.259.0", false],
  ])("%s for %s: %s", (found, wanted, expected) => {
    expect(accepts(found, wanted)).toBe(expected);
  });

  it("takes every newer one of the same major version, and no other", () => {
    const part = fc.nat(500);
    fc.assert(
      fc.property(part, part, part, part, part, part, (a, b, c, x, y, z) => {
        const expected = a === x && (b > y || (b === y && c >= z));
        expect(accepts(`v${a}.${b}.${c}`, `${x}.${y}.${z}`)).toBe(expected);
      }),
    );
  });

  it.each([
    ["go1.26.8", true],
    ["go1.21", true],
    ["go1.19.8", false],
    ["devel go1.30", false],
    ["", false],
  ])("Go %s will do: %s", (version, expected) => expect(isNewEnough(version)).toBe(expected));
});

describe("what the machine has", () => {
  const find = (env: NodeJS.ProcessEnv) => findCandidates(cache, { PULUMI_HOME: join(work, "home"), ...env });

  it("takes a pulumi only with its language host beside it, through links too", async () => {
    executable(join(work, "lonely", "pulumi"), "v3.260.0");
    executable(join(work, "cellar", "pulumi"), "v3.261.0");
    executable(join(work, "cellar", "pulumi-language-nodejs"));
    mkdirSync(join(work, "links"));
    symlinkSync(join(work, "cellar", "pulumi"), join(work, "links", "pulumi"));
    const candidates = find({ PATH: `${work}/lonely:${work}/links` });
    expect(await acceptCandidate(candidates, pins.pulumi)).toEqual({
      path: join(work, "links", "pulumi"),
      version: "3.261.0",
    });
  });

  it("prefers the newest plugin that pulumi installed, and passes over unfit ones", async () => {
    for (const version of ["4.9.0", "5.1.9", "5.2.0", "5.10.0", "6.0.0"]) {
      executable(join(work, "home", "plugins", `resource-docker-v${version}`, "pulumi-resource-docker"));
    }
    mkdirSync(join(work, "home", "plugins", "resource-docker-v5.99.0"));
    const found = await acceptCandidate(find({ PATH: "" }), pins.docker);
    expect(found?.version).toBe("5.10.0");
  });

  it("asks a plugin on PATH for its version", async () => {
    executable(join(work, "old", "pulumi-resource-command"), "v0.9.0");
    const fit = executable(join(work, "new", "pulumi-resource-command"), "v1.3.0");
    const candidates = find({ PATH: `${work}/old:${work}/new` });
    expect(await acceptCandidate(candidates, pins.command)).toEqual({ path: fit, version: "1.3.0" });
  });

  it("passes over our own tools, which are on PATH inside `npm run pulumi`", () => {
    executable(join(cache, "set-1", "bin", "pulumi"));
    executable(join(cache, "set-1", "bin", "pulumi-language-nodejs"));
    const env = { PATH: join(cache, "set-1", "bin"), PULUMI_HOME: join(cache, "set-1", "home") };
    expect(findCandidates(cache, env).filter(({ path }) => path.startsWith(cache))).toEqual([]);
    expect(userPulumiHome(cache, env)).not.toContain(cache);
  });

  it("sees that a candidate was replaced", () => {
    const path = executable(join(work, "bin", "pulumi"), "1");
    const before = fingerprint({ name: "pulumi", path });
    executable(path, "22");
    expect(fingerprint({ name: "pulumi", path })).not.toBe(before);
  });
});

describe("getting the tools", () => {
  const unreachable = () => {
    const releases = officialReleases();
    for (const release of Object.values(releases)) release.base = "http://127.0.0.1:1/x";
    return releases;
  };
  const fakeBuild: GoBuilder = async (recipe, output) => void executable(output, recipe.version);
  const standInEntry = () => {
    const entry = join(work, "plugin", "main.ts");
    mkdirSync(dirname(entry), { recursive: true });
    writeFileSync(entry, "console.log(process.argv.length as number);\n");
    return entry;
  };

  it("builds what is nowhere, and asks the vendor's unreachable site once only", async () => {
    const context = {
      cache,
      candidates: [],
      releases: unreachable(),
      build: fakeBuild,
      standInEntry: standInEntry(),
    };
    const tools = await resolveTools(context, report);
    expect(Object.fromEntries(Object.entries(tools).map(([name, { origin }]) => [name, origin]))).toEqual({
      pulumi: "built",
      "pulumi-language-nodejs": "built",
      "pulumi-resource-docker": "built",
      "pulumi-resource-command": "stand-in",
    });
    expect(said.filter((line) => line.startsWith("Download"))).toHaveLength(1);
    expect(findCached(cache, "pulumi")).toBe(tools.pulumi?.path);
  });

  it("gets the Kubernetes plugin for those alone who ask for it", async () => {
    const built: string[] = [];
    const build: GoBuilder = async (recipe, output) => {
      built.push(recipe.name);
      executable(output, recipe.version);
    };
    const context = { cache, candidates: [], releases: unreachable(), build, standInEntry: standInEntry() };
    const name = "pulumi-resource-kubernetes";
    expect(await resolveTools(context, report)).not.toHaveProperty(name);
    expect(built).not.toContain(name);
    expect(said.join("\n")).not.toContain("kubernetes");
    expect(sourcesFingerprint().join("\n")).not.toContain("kubernetes");

    built.length = 0;
    const extras = { kubernetes: true };
    const tools = await resolveTools({ ...context, extras }, report);
    expect(tools[name]).toMatchObject({ origin: "built", version: "4.34.2" });
    expect(built).toEqual([name]);
    await writeSet(cache, "set-2", tools, report);
    const { env } = setEnvironment(cache, "set-2", tools);
    // By the version that the npm package asks for.
    const version = npmVersion("@pulumi/kubernetes");
    const plugin = join(env.PULUMI_HOME ?? "", "plugins", `resource-kubernetes-v${version}`, name);
    expect(realpathSync(plugin)).toBe(tools[name]?.path);
  });

  it("takes the machine's Kubernetes plugin only where it is asked for", () => {
    const home = join(work, "home");
    const name = "pulumi-resource-kubernetes";
    executable(join(home, "plugins", "resource-kubernetes-v4.40.0", name));
    const found = (extras: object) =>
      findCandidates(cache, { PULUMI_HOME: home, PATH: "" }, extras).map((candidate) => candidate.name);
    expect([found({}), found({ kubernetes: true })]).toEqual([[], [name]]);
  });

  it("does without a stand-in whose sources are not there", async () => {
    const context = { cache, candidates: [], releases: unreachable(), build: fakeBuild };
    const tools = await resolveTools({ ...context, standInEntry: join(work, "absent.ts") }, report);
    expect(tools["pulumi-resource-command"]).toBeUndefined();
  });

  it("leaves nothing of a build that fails, and keeps what was made before it", async () => {
    const build: GoBuilder = async (recipe, output) => {
      executable(output);
      if (recipe.name === "pulumi-resource-docker") throw new UserError("no space left on device");
    };
    const context = { cache, candidates: [], releases: unreachable(), build, standInEntry: standInEntry() };
    await expect(resolveTools(context, report)).rejects.toThrow("no space left on device");
    expect(findCached(cache, "pulumi")).toBeDefined();
    expect(
      readdirSync(cache).filter((name) => name.includes("docker") && !name.startsWith(".lock-")),
    ).toEqual([]);
  });

  it("uses what the machine has, and neither downloads nor builds it", async () => {
    executable(join(work, "bin", "pulumi"), "v3.300.0");
    executable(join(work, "bin", "pulumi-language-nodejs"));
    executable(join(work, "bin", "pulumi-resource-docker"), "5.3.0");
    executable(join(work, "bin", "pulumi-resource-command"), "1.2.1");
    const candidates = findCandidates(cache, { PATH: join(work, "bin"), PULUMI_HOME: join(work, "home") });
    const tools = await resolveTools({ cache, candidates, releases: unreachable() }, report);
    expect(Object.values(tools).map(({ origin }) => origin)).toEqual(["path", "path", "path", "path"]);
    expect(said).toEqual([]);
  });

  it("lays a set out so that pulumi finds all of it", async () => {
    const context = {
      cache,
      candidates: [],
      releases: unreachable(),
      build: fakeBuild,
      standInEntry: standInEntry(),
    };
    const tools = await resolveTools(context, report);
    await writeSet(cache, "set-1", tools, report);
    expect(readSet(cache, "set-1")).toEqual(tools);
    const { binDir, env } = setEnvironment(cache, "set-1", tools, { PATH: "/usr/bin", PULUMI_HOME: "/own" });
    // The CLI resolves links before it looks for language hosts beside itself.
    expect(lstatSync(join(binDir, "pulumi")).isSymbolicLink()).toBe(false);
    expect(realpathSync(join(binDir, "pulumi-language-nodejs"))).toBe(join(binDir, "pulumi-language-nodejs"));
    for (const plugin of ["resource-docker-v5.2.0", "resource-command-v1.2.1"]) {
      expect(
        existsSync(join(env.PULUMI_HOME ?? "", "plugins", plugin, `pulumi-${plugin.split("-v")[0]}`)),
      ).toBe(true);
    }
    expect(env).toMatchObject({ PATH: `${binDir}:/usr/bin`, PULUMI_CREDENTIALS_PATH: "/own" });
  });

  it("does not count a set whose tool was removed since", async () => {
    const path = executable(join(work, "bin", "pulumi"));
    await writeSet(cache, "set-1", { pulumi: { origin: "path", version: "3.259.0", path } }, report);
    expect(readSet(cache, "set-1")).toBeDefined();
    rmSync(path);
    expect(readSet(cache, "set-1")).toBeUndefined();
  });
});

describe("the hash of a tool's sources", () => {
  it("follows names and contents, and leaves tests out", () => {
    const dir = join(work, "src");
    executable(join(dir, "a", "main.go"), "1");
    const first = hashFolder(dir);
    writeFileSync(join(dir, "a", "main_test.go"), "x");
    expect(hashFolder(dir)).toBe(first);
    expect(hashFolder(dir, ["5.2.0"])).not.toBe(first);
    writeFileSync(join(dir, "a", "main.go"), "2");
    expect(hashFolder(dir)).not.toBe(first);
  });
});
