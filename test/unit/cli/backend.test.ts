import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buildSync } from "esbuild";
import { afterAll, expect, it } from "vitest";
import { exec } from "../../../setup/exec";

const checkout = mkdtempSync(join(tmpdir(), "microsandbox-backend-"));
const state = join(checkout, ".pulumi-state");
afterAll(() => rmSync(checkout, { recursive: true }));

it("takes the passphrase of another command that was first meanwhile", async () => {
  mkdirSync(join(checkout, "cli"));
  const outfile = join(checkout, "cli/backend.js");
  buildSync({ entryPoints: ["cli/backend.ts"], outfile, platform: "node", format: "cjs", bundle: true });
  // While this one thinks of its own, the other one writes.
  const run = `const crypto = require("node:crypto");
    const { randomBytes } = crypto;
    crypto.randomBytes = (size) => {
      require("node:fs").writeFileSync("${state}/passphrase", "the other's", { mode: 0o600 });
      return randomBytes(size);
    };
    console.log(require("${outfile}").backendEnvironment({}).PULUMI_CONFIG_PASSPHRASE_FILE);`;
  const { stdout: file } = await exec("node", ["--eval", run]);
  expect(readFileSync(file, "utf8")).toBe("the other's");
  expect(readdirSync(state)).toEqual(["passphrase"]);

  rmSync(file);
  const again = `console.log(require("${outfile}").backendEnvironment({}).PULUMI_CONFIG_PASSPHRASE_FILE);`;
  await exec("node", ["--eval", again]);
  expect(readFileSync(file, "utf8")).toMatch(/^[\w-]{43}\n$/);
  expect(statSync(file).mode & 0o777).toBe(0o600);
  expect(readdirSync(state)).toEqual(["passphrase"]);
});
