import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { withVariables } from "../../../../components/host/connection";
import { script } from "../../../../components/host/scripts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "microsandbox-done-"));
  mkdirSync(join(folder, "state"));
  // An engine whose containers are this machine's shell, in the state volume.
  const docker = '#!/bin/sh\nwhile [ "$1" != sh ]; do shift; done\ncd "$FAKE/state" && exec "$@"\n';
  writeFileSync(join(folder, "docker"), docker, { mode: 0o755 });
});
afterEach(() => rmSync(folder, { recursive: true }));

/** Ends an upgrade whose trial had this copy, on a state with these ones. */
function done(copies: string[], copy: string, keep = 2) {
  for (const each of copies) mkdirSync(join(folder, "state/copies", each), { recursive: true });
  return again(copy, keep);
}
function again(copy: string, keep = 2, { from = "0.8.0", stoppedAt = 0 } = {}) {
  const report = `{"image":"sha256:new","from":"${from}","copy":"${copy}","stoppedAt":${stoppedAt}}`;
  const variables = { REPORT: report, VERSION: "0.8.0", STATE: "state", KEEP: keep };
  const { status, stderr } = spawnSync("sh", ["-s"], {
    input: withVariables(variables, script("server/upgrade-done")),
    env: { ...process.env, PATH: `${folder}:${process.env.PATH}`, FAKE: folder },
    encoding: "utf8",
  });
  return { status, stderr };
}
const left = () =>
  readdirSync(join(folder, "state"), { recursive: true })
    .map((path) => String(path).replace(/^copies\/?/, ""))
    .filter(Boolean)
    .sort();

describe("after an upgrade", () => {
  const [oldest, middle, newest] = ["20260101T000000Z", "20260301T000000Z", "20260401T000000Z"];

  it.each([
    ["plain versions", `0.9.0-${oldest}`, `0.8.0-${middle}`, `0.10.0-${newest}`],
    ["a pre-release first", `0.8.0-rc.1-${oldest}`, `0.8.0-${middle}`, `0.8.1-${newest}`],
    ["a pre-release last", `0.8.0-${oldest}`, `0.8.1-${middle}`, `0.8.2-beta-2-${newest}`],
  ])("the newest copies stay, by their time: %s", (_what, first, second, third) => {
    const { status, stderr } = done([third, first, second], third);
    expect([status, stderr]).toEqual([0, ""]);
    expect(left()).toEqual([second, third].sort());
  });

  it.each([[[]], [[`0.8.0-${oldest}`]]])("no copy is missing where the trial made none: %j", (copies) => {
    const { status, stderr } = done(copies, "");
    expect([status, stderr]).toEqual([0, ""]);
    expect(left()).toEqual(copies);
  });

  it.each([
    [
      "another version",
      "0.7.11",
      60,
      /^Upgraded from microsandbox 0\.7\.11 to 0\.8\.0: .* down for 6\d s\.$/,
    ],
    [
      "the same version",
      "0.8.0",
      60,
      /^The server was replaced .* microsandbox 0\.8\.0: .* down for 6\d s\.$/,
    ],
    ["another version, after a destroy", "0.7.11", 0, /^Upgraded from microsandbox 0\.7\.11 to 0\.8\.0\.$/],
    ["the same version, after a destroy", "0.8.0", 0, /^$/],
  ])("says what has changed, and how long there was no service: %s", (_what, from, ago, message) => {
    const copy = `${from}-${newest}`;
    mkdirSync(join(folder, "state/copies", copy), { recursive: true });
    const stoppedAt = ago && Math.floor(Date.now() / 1000) - ago;
    const { status, stderr } = again(copy, 2, { from, stoppedAt });
    expect([status, stderr.trim()]).toEqual([0, expect.stringMatching(message)]);
  });

  it("keeps the way back where the trial found the same image: none was made", () => {
    const copies = [`0.8.0-${oldest}`, `0.8.0-${middle}`];
    for (const each of copies) mkdirSync(join(folder, "state/copies", each), { recursive: true });
    writeFileSync(join(folder, "state/copies/.unproven"), `${copies[0]}\n`);
    expect(again("", 1, { from: "same" })).toEqual({ status: 0, stderr: "" });
    expect(left()).toEqual([".unproven", ...copies]);
  });

  it("it fails once where the copy made before it is gone, and says what that means", () => {
    const others = [`0.8.0-${oldest}`, `0.8.0-${middle}`];
    const { status, stderr } = done(others, `0.8.1-${newest}`, 1);
    expect(status).toBe(1);
    expect(stderr).toMatch(new RegExp(`copies/0.8.1-${newest}\\) is gone[\\s\\S]*go on: pulumi up`));
    expect(left()).toEqual([".gone", ...others]);
    expect(again(`0.8.1-${newest}`, 1).status).toBe(0);
    expect(left()).toEqual([others[1]]);
  });
});
