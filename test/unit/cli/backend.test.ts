import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { buildSync } from "esbuild";
import fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";
import { type Backend, backendFolder } from "../../../cli/backend";
import { exec } from "../../../setup/exec";

const folder = mkdtempSync(join(tmpdir(), "microsandbox-backend-"));
afterAll(() => rmSync(folder, { recursive: true }));

/** A checkout with nothing but this module, to be asked with other environments and files. */
function checkout(name: string) {
  const root = join(folder, name);
  mkdirSync(join(root, "cli"), { recursive: true });
  const outfile = join(root, "cli/backend.js");
  const shared = { platform: "node", format: "cjs", bundle: true } as const;
  buildSync({ entryPoints: ["cli/backend.ts"], outfile, ...shared });
  const ask = async (expression: string, env: Record<string, string> = {}, before = "") => {
    const program = `const it = require(${JSON.stringify(outfile)}); ${before}; Promise.resolve(${expression}).then((value) => console.log(JSON.stringify(value)))`;
    const clean = { PATH: process.env.PATH, HOME: root, ...env };
    const { stdout } = await exec("node", ["--eval", program], { env: clean, extendEnv: false });
    return JSON.parse(stdout);
  };
  return { root, state: join(root, ".pulumi-state"), ask };
}

it("takes the passphrase of another command that was first meanwhile", async () => {
  const { state, ask } = checkout("passphrase");
  // While this one thinks of its own, the other one writes.
  const other = `const crypto = require("node:crypto");
    const { randomBytes } = crypto;
    crypto.randomBytes = (size) => {
      require("node:fs").writeFileSync("${state}/passphrase", "the other's", { mode: 0o600 });
      return randomBytes(size);
    }`;
  const file = await ask("it.backendEnvironment({}).PULUMI_CONFIG_PASSPHRASE_FILE", {}, other);
  expect(readFileSync(file, "utf8")).toBe("the other's");
  expect(readdirSync(state)).toEqual(["passphrase"]);

  rmSync(file);
  await ask("it.backendEnvironment({})");
  expect(readFileSync(file, "utf8")).toMatch(/^[\w-]{43}\n$/);
  expect(statSync(file).mode & 0o777).toBe(0o600);
  expect(readdirSync(state)).toEqual(["passphrase"]);
});

it("leaves nothing in a checkout without a state where something is only read", async () => {
  const { root, state, ask } = checkout("only-read");
  const read = `it.readOnly("dev", async () => it.backendEnvironment())`;
  const during = `it.readOnly("dev", async () => process.env.PULUMI_BACKEND_URL)`;
  expect(await ask(read)).toEqual({});
  const url = await ask(during);
  expect(url).toMatch(/^file:/);
  expect(existsSync(fileURLToPath(url))).toBe(false);
  expect(existsSync(state)).toBe(false);
  expect(await ask(`${during}.then(() => process.env.PULUMI_BACKEND_URL ?? "as before")`)).toBe("as before");
  // With one it is that which is read.
  mkdirSync(join(root, ".pulumi-state"));
  expect(await ask(`it.readOnly("dev", async () => process.env.PULUMI_BACKEND_URL ?? "own")`)).toBe("own");
});

describe("the state is where plain pulumi has it, else in the checkout", () => {
  const { root, state, ask } = checkout("places");
  const own = pathToFileURL(state).href;
  const stacks = join(state, ".pulumi/stacks/p");
  /** Asks with these said, or not, and the folder with the state of these stacks. */
  async function find(
    said: { environment?: string; project?: string; login?: string; token?: boolean },
    deployed: string[],
    stack?: string,
  ): Promise<Backend> {
    rmSync(state, { recursive: true, force: true });
    if (deployed.length > 0) mkdirSync(stacks, { recursive: true });
    for (const name of deployed) writeFileSync(join(stacks, `${name}.json`), "{}");
    const project = said.project ? `name: p\nbackend:\n  url: ${said.project}\n` : "name: p\n";
    writeFileSync(join(root, "Pulumi.yaml"), project);
    rmSync(join(root, ".pulumi"), { recursive: true, force: true });
    mkdirSync(join(root, ".pulumi"));
    if (said.login)
      writeFileSync(join(root, ".pulumi/credentials.json"), JSON.stringify({ current: said.login }));
    return ask(`it.findBackend(${JSON.stringify(stack)})`, {
      ...(said.environment ? { PULUMI_BACKEND_URL: said.environment } : {}),
      ...(said.token ? { PULUMI_ACCESS_TOKEN: "pul-x" } : {}),
    });
  }

  it("in pulumi's order", async () => {
    const maybe = (url: string) => fc.option(fc.constant(url), { nil: undefined });
    await fc.assert(
      fc.asyncProperty(
        maybe("s3://env"),
        maybe("gs://project"),
        maybe("https://login"),
        fc.boolean(),
        async (environment, project, login, token) => {
          const cloud = token ? "https://api.pulumi.com" : undefined;
          const expected = environment ?? project ?? login ?? cloud ?? own;
          expect((await find({ environment, project, login, token }, [])).url).toBe(expected);
        },
      ),
      { numRuns: 15 },
    );
  });

  it("not in the checkout because the file of the login can't be read", async () => {
    await find({ login: "https://login" }, ["dev"]);
    const file = join(root, ".pulumi/credentials.json");
    for (const text of ["", '{"current": "https', "null"]) {
      writeFileSync(file, text);
      await expect(ask("it.findBackends()")).rejects.toThrow(`can't be read (it is not JSON): ${file}`);
    }
    rmSync(file);
    mkdirSync(file);
    await expect(ask("it.findBackends()")).rejects.toThrow("can't be read (EISDIR)");
  });

  it("a stack that was deployed in the checkout goes on being found there, and no other one", async () => {
    const login = "https://login";
    const found = { source: "checkout", url: own, otherwise: login };
    expect(await find({ login }, ["dev"], "dev")).toEqual(found);
    expect(await find({ login }, ["dev"], "organization/microsandbox/dev")).toEqual(found);
    expect(await find({ login }, ["dev"])).toEqual(found);
    expect(await ask("it.findBackends().map(({ url }) => url)")).toEqual([login, own]);
    expect(await find({ login }, ["dev"], "prod")).toEqual({ source: "login", url: login });
    expect(await find({ environment: "s3://x" }, ["dev"], "dev")).toEqual({
      source: "environment",
      url: "s3://x",
    });
  });

  it("says in one line how plain pulumi sees it, where it does not by itself", async () => {
    await find({}, []);
    const line = await ask("it.plainPulumi(it.findBackend())");
    expect(line).toContain(
      `export PULUMI_BACKEND_URL=${own} PULUMI_CONFIG_PASSPHRASE_FILE=${state}/passphrase`,
    );
    expect(line).not.toContain("\n");
    await find({ login: "https://login" }, ["dev"]);
    expect(await ask("it.plainPulumi(it.findBackend())")).toContain("before the login to https://login");
    expect(await ask("it.plainPulumi(it.findBackend()) ?? null", { PULUMI_BACKEND_URL: "s3://x" })).toBe(
      null,
    );
  });

  it("takes the passphrase of the checkout with another backend only where it has made one", async () => {
    const env = { PULUMI_BACKEND_URL: "s3://x" };
    await find({}, []);
    expect(await ask("it.backendEnvironment()", env)).toEqual({});
    await ask("it.backendEnvironment()");
    expect(await ask("it.backendEnvironment()", env)).toEqual({
      PULUMI_CONFIG_PASSPHRASE_FILE: `${state}/passphrase`,
    });
    expect(await ask("it.backendEnvironment()", { ...env, PULUMI_CONFIG_PASSPHRASE: "" })).toEqual({});
  });
});

it("says where to put the state where the checkout can't be written", async () => {
  const { root, ask } = checkout("read-only");
  // Root may write anywhere: the refusal of the file system is made up.
  const denied = `const fs = require("node:fs"); fs.mkdirSync = () => { throw Object.assign(new Error(), { code: "EROFS" }) }`;
  const failed = await ask("it.backendEnvironment({})", {}, denied).catch((error: Error) => error.message);
  expect(failed).toContain(`This checkout can't be written (EROFS)`);
  expect(failed).toContain("export PULUMI_BACKEND_URL=file://$HOME/");
  expect(readdirSync(root)).toEqual(["cli"]);
});

it("finds the folder of a backend of this machine, whatever its path", () => {
  const part = fc.string({ unit: "grapheme", minLength: 1 }).map((text) => text.replace(/[/\0]/g, "_"));
  const path = fc.array(part, { minLength: 1 }).map((parts) => `/${parts.join("/")}`);
  fc.assert(
    fc.property(path, (given) => {
      const normal = join(given, ".");
      expect(backendFolder({ url: pathToFileURL(normal).href })).toBe(normal.replace(/(?<=.)\/$/, ""));
    }),
  );
  expect(backendFolder({ url: "s3://bucket" })).toBeUndefined();
  // As 659e3d2 wrote it.
  expect(backendFolder({ url: "file:///home/me/100% mine" })).toBe("/home/me/100% mine");
});
