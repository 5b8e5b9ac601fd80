import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { script } from "../../../../components/host/scripts";
import { filesBelow } from "../../../harness/files";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "microsandbox-swap-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

const write = (path: string, text: string) => {
  mkdirSync(join(folder, dirname(path)), { recursive: true });
  writeFileSync(join(folder, path), text);
};
const filesOf = (path: string) => filesBelow(join(folder, path));

/** Runs the swap, and kills it after this many of its commands. @returns whether it came to its end */
function swapPending(most = Number.POSITIVE_INFINITY): boolean {
  const bin = join(folder, "bin");
  mkdirSync(bin, { recursive: true });
  rmSync(join(folder, "count"), { force: true });
  for (const name of ["mv", "rm", "sync", "mkdir"]) {
    const real = name === "sync" ? "true" : `/bin/${name} "$@"`;
    const limited = Number.isFinite(most)
      ? `echo >>"${folder}/count"; [ "$(wc -l <"${folder}/count")" -le ${most} ] || { kill -KILL $PPID; exit 1; }\n`
      : "";
    writeFileSync(join(bin, name), `#!/bin/sh\n${limited}${real}\n`, { mode: 0o755 });
  }
  const input = `set -eu\n${script("server/swap")}\ncd "${folder}/state"; workspace="${folder}/workspace"\nswap_pending\n`;
  const env = { ...process.env, PATH: `${bin}:${process.env.PATH}` };
  const { status, stderr } = spawnSync("sh", ["-s"], { input, env, encoding: "utf8" });
  if (most === Number.POSITIVE_INFINITY) expect(stderr).toBe("");
  return status === 0;
}

describe("a copy in the place of a state", () => {
  const name = "restored-20260101T000000Z";
  beforeEach(() => {
    for (const path of ["db/msb.db", "gateway/version", ".hidden", "..odd", "run/socket"])
      write(`state/${path}`, "old");
    symlinkSync("nowhere", join(folder, "state/dangling"));
    write("state/copies/0.6.18-20250101T000000Z/db/msb.db", "kept");
    for (const path of ["db/msb.db", "added", ".hidden"]) write(`state/copies/${name}/${path}`, "new");
    symlinkSync("nowhere", join(folder, `state/copies/${name}/dangling`));
    write("workspace/file", "old");
    write(`workspace/.restored/${name}/file`, "new");
    write(`workspace/.restored/${name}/..odd`, "new");
  });
  const restored = {
    ...{ "db/msb.db": "new", added: "new", ".hidden": "new", dangling: "link" },
    "copies/0.6.18-20250101T000000Z/db/msb.db": "kept",
  };

  it("is whole wherever it was cut off, once it is run again", () => {
    write("state/copies/.pending", `${name}\n`);
    cpSync(folder, `${folder}-before`, { recursive: true, verbatimSymlinks: true });
    let commands = 0;
    try {
      for (let isDone = false; !isDone; commands++) {
        rmSync(folder, { recursive: true });
        cpSync(`${folder}-before`, folder, { recursive: true, verbatimSymlinks: true });
        isDone = swapPending(commands);
        // What it may not be started on says so.
        if (filesOf("state")["copies/.pending"] === undefined)
          expect(filesOf("state")).toMatchObject(restored);
        expect(swapPending()).toBe(true);
        expect(filesOf("state")).toEqual(restored);
        expect(filesOf("workspace")).toEqual({ file: "new", "..odd": "new" });
      }
    } finally {
      rmSync(`${folder}-before`, { recursive: true });
    }
    expect(commands).toBeGreaterThan(15);
  });

  it("loses nothing, and comes to its end, where an older server ran wherever it was cut off", () => {
    cpSync(folder, `${folder}-before`, { recursive: true, verbatimSymlinks: true });
    try {
      for (let commands = 0, isDone = false; !isDone; commands++) {
        rmSync(folder, { recursive: true });
        cpSync(`${folder}-before`, folder, { recursive: true, verbatimSymlinks: true });
        write("state/copies/.pending", `${name}\n`);
        const written = new Date(Date.now() - 60_000);
        utimesSync(join(folder, "state/copies/.pending"), written, written);
        isDone = swapPending(commands);
        if (isDone || filesOf("state")["copies/.pending"] === undefined) continue;
        for (const path of ["state/db/msb.db", "state/db/wal", "workspace/file"]) write(path, "between");
        expect(swapPending()).toBe(true);
        expect(filesOf("state").added).toBe("new");
        expect(filesOf("state")["copies/.pending"]).toBe(undefined);
        const between = Object.entries(filesOf(".")).filter(([, text]) => text === "between");
        for (const part of ["wal", "msb.db", "file"])
          expect(
            between.filter(([path]) => path.includes(part)),
            `${commands}: ${part}`,
          ).toHaveLength(1);
        expect(swapPending()).toBe(true);
      }
    } finally {
      rmSync(`${folder}-before`, { recursive: true });
    }
  });

  it("keeps what was there under the name that is asked for, and goes back to it", () => {
    const before = filesOf("state");
    write("state/copies/.pending", `${name} 0.7.11-20260102T000000Z\n`);
    expect(swapPending()).toBe(true);
    const { "run/socket": _gone, ...kept } = before;
    expect(filesOf("state/copies/0.7.11-20260102T000000Z")["db/msb.db"]).toBe("old");
    write("state/copies/.pending", `0.7.11-20260102T000000Z ${name}\n`);
    expect(swapPending()).toBe(true);
    expect(filesOf("state")).toEqual(kept);
  });

  it("leaves the workspace alone where no restore is pending", () => {
    write("state/copies/0.6.18-1/db/msb.db", "copy");
    write("state/copies/.pending", "0.6.18-1\n");
    const before = filesOf("workspace");
    expect(swapPending()).toBe(true);
    expect(filesOf("workspace")).toEqual(before);
    expect(swapPending()).toBe(true);
  });
});
