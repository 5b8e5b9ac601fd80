import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  clearScript,
  commitScript,
  finishAllScript,
  finishHalfScript,
  finishScript,
  packScript,
  restoredName,
  sizeScript,
  unpackScript,
} from "../../../../cli/backup/volume-scripts";
import { settingsFiles } from "../../../../components/server/stack-files";
import { halfState } from "../../../../docker/gateway/src/backends/msb/half-state";
import { filesBelow } from "../../../harness/files";

const name = restoredName(new Date("2026-01-31T18:00:00.123Z"));
const path = process.env.PATH;
let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "microsandbox-restore-"));
  mkdirSync(join(folder, "bin"));
  // The real one waits for all that this machine writes.
  writeFileSync(join(folder, "bin/sync"), "#!/bin/sh\n", { mode: 0o755 });
});
afterEach(() => {
  process.env.PATH = path;
  rmSync(folder, { recursive: true });
});

const write = (file: string, text: string) => {
  mkdirSync(join(folder, dirname(file)), { recursive: true });
  writeFileSync(join(folder, file), text);
};
/** A script with the volumes in the test's folder, and without compression, which the Node of the tests may not have. */
const here = (text: string) =>
  text
    .replaceAll(/node -e '[^']*'/g, "cat")
    .replaceAll("/var/lib/microsandbox", `${folder}/state`)
    .replaceAll(/(?<=[ =])\/workspace/g, `${folder}/workspace`);

/** @returns whether it came to its end */
function run(text: string, input?: Buffer): boolean {
  const { status } = spawnSync("bash", ["--norc", "-c", here(text)], {
    input,
    env: { PATH: `${folder}/bin:${path}` },
  });
  return status === 0;
}

/** Kills a script's shell after this many of its commands. */
function limit(most: number | undefined): void {
  rmSync(join(folder, "count"), { force: true });
  for (const command of ["mv", "rm", "cp", "mkdir", "find"]) {
    const count = `echo >>"${folder}/count"; [ "$(wc -l <"${folder}/count")" -le ${most} ] || { kill -KILL $PPID; exit 1; }\n`;
    write(
      `bin/${command}`,
      `#!/bin/sh\n${most === undefined ? "" : count}exec /usr/bin/env -i /bin/${command} "$@"\n`,
    );
    spawnSync("chmod", ["755", join(folder, "bin", command)]);
  }
}

const state = () => filesBelow(join(folder, "state"));
const workspace = () => filesBelow(join(folder, "workspace"));

/** Whether a server starts on the state. */
const isWhole = () => halfState(join(folder, "state")) === undefined;

/** The volumes of a stack, and its backup, which is another stack's. */
function stackWithBackup(): Record<"state.tar.zst" | "workspace.tar.zst", Buffer> {
  for (const file of ["db/msb.db", "gateway/version", "gateway/keys", ".hidden", ...settingsFiles])
    write(`state/${file === "secrets/registries" ? `${file}/ghcr.io` : file}`, "backup");
  write("workspace/file", "backup");
  const pack = (script: string) =>
    spawnSync("bash", ["--norc", "-c", here(script)], { maxBuffer: 1e8, env: { PATH: path } }).stdout;
  const backup = {
    "state.tar.zst": pack(packScript("state.tar.zst")),
    "workspace.tar.zst": pack(packScript("workspace.tar.zst")),
  };
  rmSync(join(folder, "state"), { recursive: true });
  rmSync(join(folder, "workspace"), { recursive: true });
  for (const file of [
    "db/msb.db",
    "sandboxes/a",
    "gateway/version",
    "gateway/keys",
    "gateway/tls.pem",
    "gateway/host-ranges.json",
  ])
    write(`state/${file}`, "stack");
  write("state/copies/0.6.18-20250101T000000Z/db", "kept");
  write("workspace/own", "stack");
  return backup;
}
const before = {
  ...{ "db/msb.db": "stack", "sandboxes/a": "stack", "gateway/version": "stack", "gateway/keys": "stack" },
  ...{ "gateway/tls.pem": "stack", "gateway/host-ranges.json": "stack" },
  "copies/0.6.18-20250101T000000Z/db": "kept",
};
const after = {
  ...{ "db/msb.db": "backup", "gateway/version": "backup", ".hidden": "backup", "gateway/keys": "stack" },
  ...{ "gateway/tls.pem": "stack", "gateway/host-ranges.json": "stack" },
  "copies/0.6.18-20250101T000000Z/db": "kept",
};

describe("a restore", () => {
  it("leaves either state whole wherever it is cut off, with the stack's own files", () => {
    const backup = stackWithBackup();
    for (const entry of ["state.tar.zst", "workspace.tar.zst"] as const)
      expect(run(unpackScript(entry, name), backup[entry])).toBe(true);
    const saved = `${folder}-saved`;
    cpSync(folder, saved, { recursive: true });
    const seen = new Set<string>();
    try {
      for (let most = 0, isDone = false; !isDone; most++) {
        for (const each of ["state", "workspace"]) {
          rmSync(join(folder, each), { recursive: true });
          cpSync(join(saved, each), join(folder, each), { recursive: true });
        }
        limit(most);
        isDone = run(commitScript(name, true, "")) && run(finishScript());
        limit(undefined);
        const starts = isWhole();
        if (starts) write("state/db/written", "by a server that was started first");
        // What an up does before it starts the server, and the same command when it is given again.
        expect(run([finishScript, finishHalfScript, finishAllScript][most % 3]?.() ?? "")).toBe(true);
        expect(run(clearScript)).toBe(true);
        const isNew = state()["db/msb.db"] === "backup";
        const { "db/written": written, ...rest } = state();
        expect(rest).toEqual(isNew ? after : before);
        expect(written !== undefined).toBe(starts);
        expect(workspace()).toEqual(isNew ? { file: "backup" } : { own: "stack" });
        seen.add(`${isNew}`);
        if (isDone) expect(isNew).toBe(true);
      }
    } finally {
      rmSync(saved, { recursive: true });
    }
    expect([...seen].sort()).toEqual(["false", "true"]);
  });

  it("takes the backup's keys where that is asked for", () => {
    const backup = stackWithBackup();
    for (const entry of ["state.tar.zst", "workspace.tar.zst"] as const)
      run(unpackScript(entry, name), backup[entry]);
    expect(run(commitScript(name, false, "")) && run(finishScript())).toBe(true);
    expect(state()).toEqual({ ...after, "gateway/keys": "backup" });
  });

  it("is what a backup ends, with any swap that has begun, and no upgrade whose trial was cut off", () => {
    write("state/copies/0.6.18-1/db", "copy");
    write("state/copies/.pending", "0.6.18-1\n");
    write("workspace/file", "");
    expect(run(finishHalfScript())).toBe(true);
    expect(state()).toEqual({ "copies/0.6.18-1/db": "copy", "copies/.pending": "0.6.18-1\n" });
    write("state/copies/.failed/db", "tried");
    expect(run(finishHalfScript())).toBe(true);
    expect(state()).toEqual({ db: "copy" });
    rmSync(join(folder, "state"), { recursive: true });
    write("state/db", "");
    expect(run(finishHalfScript())).toBe(true);
    expect(run(finishScript())).toBe(true);
  });

  it("or an upgrade whose trial was cut off is what an up ends, wherever that is cut off", () => {
    for (let most = 0, isDone = false; !isDone; most++) {
      for (const each of ["state", "workspace"]) rmSync(join(folder, each), { recursive: true, force: true });
      write("state/copies/0.6.18-1/db/msb.db", "copy");
      write("state/copies/.pending", "0.6.18-1\n");
      write("state/db/msb.db", "tried");
      write("workspace/own", "stack");
      limit(most);
      isDone = run(finishAllScript());
      limit(undefined);
      if (isWhole()) expect(state()["db/msb.db"]).toBe("copy");
      expect(run(finishAllScript())).toBe(true);
      expect(isWhole()).toBe(true);
      const { "db/msb.db": db, ...rest } = state();
      expect(db).toBe("copy");
      // What was there is kept: a server of an earlier version may have gone on with it.
      expect(Object.entries(rest)).toEqual([
        [expect.stringMatching(/^copies\/replaced-\w+\/db\/msb\.db$/), "tried"],
      ]);
      expect(workspace()).toEqual({ own: "stack" });
    }
  });

  it("drops nothing that a restore of an earlier version has moved out", () => {
    write("state/.outgoing/db/msb.db", "original");
    write("workspace/file", "");
    expect(run(clearScript)).toBe(false);
    expect(state()).toEqual({ ".outgoing/db/msb.db": "original" });
  });
});

it("a backup says what its content takes on the disk, the copies of upgrades aside", () => {
  write("state/db/msb.db", "x".repeat(2 ** 20));
  write("state/copies/0.6.18-1/db", "x".repeat(2 ** 22));
  mkdirSync(join(folder, "workspace"));
  const size = (entry: "state.tar.zst" | "workspace.tar.zst") =>
    Number(spawnSync("bash", ["--norc", "-c", here(sizeScript(entry))], { encoding: "utf8" }).stdout);
  expect(size("state.tar.zst")).toBeGreaterThanOrEqual(2 ** 20);
  expect(size("state.tar.zst")).toBeLessThan(2 ** 21);
  expect(size("workspace.tar.zst")).toBe(0);
});
