import { spawnSync } from "node:child_process";
import { chmodSync, chownSync, existsSync, mkdirSync, mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import * as fc from "fast-check";
import { beforeAll, expect, test } from "vitest";
import { projectRoot } from "../../../setup/project";
import { atFileEnd } from "../../harness/file-end";
import { bundle } from "../../harness/gateway";
import { removeFolder } from "../../harness/remove-folder";

/** Modes keep nothing from root: the removal runs as somebody else, whose the files are. */
const ROOT = process.getuid?.() === 0;
const USER = 65534;

const folder = mkdtempSync(join(tmpdir(), "modes-"));
atFileEnd(() => removeFolder(folder));
const script = join(folder, "store.cjs");

beforeAll(async () => {
  chmodSync(folder, 0o755);
  const entry = "docker/gateway/src/backends/msb/volume-files/store.ts";
  await bundle(join(projectRoot, entry), script);
  chmodSync(script, 0o644);
}, 60_000);

/** Runs code with a volume store of the home, as the user. @returns what it wrote to stderr */
function asUser(home: string, code: string): string {
  const program = `
    const { VolumeFileStore } = require(${JSON.stringify(script)});
    const [home, workspace] = [${JSON.stringify(home)}, ${JSON.stringify(join(home, "workspace"))}];
    const store = new VolumeFileStore({ home, workspace, reserveBytes: 0 });
    (async () => { ${code} })().catch((error) => { console.error(error.message); process.exitCode = 1; });`;
  const options = { encoding: "utf8", ...(ROOT && { uid: USER, gid: USER }), cwd: "/" } as const;
  const { stderr, error } = spawnSync(process.execPath, ["-e", program], options);
  if (error) throw error;
  return stderr;
}

const mode = fc.oneof(fc.constantFrom(0, 0o100, 0o200, 0o400, 0o500), fc.integer({ min: 0, max: 0o777 }));
const trees = fc.record({
  root: mode,
  folders: fc.array(fc.record({ path: fc.stringMatching(/^[ab](\/[ab]){0,2}$/), mode }), { maxLength: 4 }),
});
type Tree = typeof trees extends fc.Arbitrary<infer T> ? T : never;

/** A volume with a file in each of its folders, which get their modes from the deepest on. */
function made({ root, folders }: Tree): string {
  const home = mkdtempSync(join(folder, "home-"));
  const volume = join(home, "volumes", "v");
  const modes = new Map([[volume, root]]);
  for (const each of folders)
    for (let path = join(volume, each.path); path !== volume; path = dirname(path))
      modes.set(path, each.mode);
  const own = (path: string) => ROOT && chownSync(path, USER, USER);
  for (const path of modes.keys()) {
    mkdirSync(path, { recursive: true });
    writeFileSync(join(path, "file"), "x", { mode: 0 });
    own(join(path, "file"));
  }
  for (const path of [home, dirname(volume), ...modes.keys()]) own(path);
  for (const path of [...modes.keys()].sort().reverse()) chmodSync(path, modes.get(path) ?? 0);
  return home;
}

const CASES = { numRuns: 6, endOnFailure: true };
const locked: [Tree] = [{ root: 0o700, folders: [{ path: "a/b", mode: 0 }] }];

test("a volume is emptied whatever the modes of its folders are", () => {
  const empty = `await store.empty(home + "/volumes/v", null); require("node:fs").rmdirSync(home + "/volumes/v");`;
  fc.assert(
    fc.property(trees, (tree) => {
      const home = made(tree);
      expect(asUser(home, empty)).toBe("");
      expect(existsSync(join(home, "volumes", "v"))).toBe(false);
    }),
    { ...CASES, examples: [locked, [{ root: 0, folders: [] }]] },
  );
}, 120_000);

test("so is a folder that a client removes; what a link leads to keeps its mode", () => {
  const home = made({ root: 0o700, folders: [{ path: "a/b", mode: 0 }] });
  const outside = join(home, "outside");
  const remove = `
    const fs = require("node:fs");
    fs.mkdirSync(home + "/outside", { mode: 0 });
    fs.symlinkSync(home + "/outside", home + "/volumes/v/link");
    const room = { whileWriting: (work) => work(async () => undefined), freed: () => undefined };
    const files = store.named(home + "/volumes/v", { owner: "ann" }, room);
    for (const path of ["/a", "/link"]) await files.remove(Buffer.from(path), { recursive: true });
    if ((fs.statSync(home + "/outside").mode & 0o777) !== 0) throw new Error("another folder was changed");
    fs.chmodSync(home + "/outside", 0o700);`;
  expect(asUser(home, remove)).toBe("");
  expect(["a", "link"].map((name) => existsSync(join(home, "volumes", "v", name)))).toEqual([false, false]);
  expect(existsSync(outside)).toBe(true);
}, 60_000);
