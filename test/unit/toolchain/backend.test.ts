import { mkdirSync, mkdtempSync, readdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buildSync } from "esbuild";
import { afterAll, expect, it } from "vitest";
import { exec } from "../../../toolchain/exec";

const checkout = mkdtempSync(join(tmpdir(), "microsandbox-backend-"));
afterAll(() => rmSync(checkout, { recursive: true }));

it("makes one passphrase, however many commands are the first", async () => {
  mkdirSync(join(checkout, "toolchain"));
  const outfile = join(checkout, "toolchain/backend.js");
  buildSync({ entryPoints: ["toolchain/backend.ts"], outfile, platform: "node", format: "cjs" });
  // All at the same moment, when the last of them has started.
  const print = `while (Date.now() < ${Date.now() + 600});
    const { PULUMI_CONFIG_PASSPHRASE_FILE: file } = require("${outfile}").backendEnvironment({});
    console.log(require("node:fs").readFileSync(file, "utf8"));`;
  const runs = await Promise.all(Array.from({ length: 4 }, () => exec("node", ["--eval", print])));

  const seen = new Set(runs.map(({ stdout }) => stdout));
  expect(seen.size).toBe(1);
  expect([...seen][0]).toMatch(/^[\w-]{43}\n?$/);
  const state = join(checkout, ".pulumi-state");
  expect(readdirSync(state)).toEqual(["passphrase"]);
  expect(statSync(join(state, "passphrase")).mode & 0o777).toBe(0o600);
});
