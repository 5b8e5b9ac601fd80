import { spawn } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { silentReporter } from "../../../../setup/report";
import { makeEntry, toolsCache } from "../../../../setup/tools/cache";

let cache: string;
beforeEach(() => {
  cache = mkdtempSync(join(tmpdir(), "tools-cache-"));
});
afterEach(() => rmSync(cache, { recursive: true, force: true }));

const visible = () => readdirSync(cache).filter((name) => !name.startsWith(".lock-"));

describe("the tools' cache", () => {
  it("lies in XDG_CACHE_HOME", () => {
    expect(toolsCache({ XDG_CACHE_HOME: "/x" })).toBe("/x/microsandbox-stack/tools");
  });

  it("makes an entry once", async () => {
    let made = 0;
    const make = async (dir: string) => {
      made++;
      writeFileSync(join(dir, "tool"), "ok");
    };
    const first = await makeEntry(cache, "tool-1", silentReporter, make);
    expect(await makeEntry(cache, "tool-1", silentReporter, make)).toBe(first);
    expect(made).toBe(1);
    expect(readFileSync(join(first, "tool"), "utf8")).toBe("ok");
  });

  it("leaves nothing of one that fails, and makes it the next time", async () => {
    const broken = makeEntry(cache, "tool-1", silentReporter, async (dir) => {
      writeFileSync(join(dir, "tool"), "half");
      throw new Error("compiler crashed");
    });
    await expect(broken).rejects.toThrow("compiler crashed");
    expect(visible()).toEqual([]);
    await makeEntry(cache, "tool-1", silentReporter, async (dir) =>
      writeFileSync(join(dir, "tool"), "whole"),
    );
    expect(readFileSync(join(cache, "tool-1", "tool"), "utf8")).toBe("whole");
  });

  it("removes what a killed process left of the same entry, and nothing of another", async () => {
    mkdirSync(join(cache, "tool-1.tmp-dead"));
    mkdirSync(join(cache, "tool-2.tmp-alive"));
    await makeEntry(cache, "tool-1", silentReporter, async () => {});
    expect(visible().sort()).toEqual(["tool-1", "tool-2.tmp-alive"]);
  });

  it("makes an entry anew that is not sound", async () => {
    mkdirSync(join(cache, "set-1"));
    const isSound = () => existsSync(join(cache, "set-1", "tools.json"));
    const make = async (dir: string) => writeFileSync(join(dir, "tools.json"), "{}");
    await makeEntry(cache, "set-1", silentReporter, make, isSound);
    expect(isSound()).toBe(true);
  });

  it("lets one of two processes work and the other wait for its result", async () => {
    const script = join(cache, "make.ts");
    const root = join(__dirname, "../../../..");
    writeFileSync(
      script,
      `import { makeEntry } from ${JSON.stringify(join(root, "setup/tools/cache"))};
       import { silentReporter } from ${JSON.stringify(join(root, "setup/report"))};
       import { appendFileSync, writeFileSync } from "node:fs";
       makeEntry(process.argv[2], "tool-1", silentReporter, async (dir) => {
         appendFileSync(process.argv[2] + "/.lock-count", "x");
         for (const part of ["a", "b"]) {
           appendFileSync(dir + "/tool", part);
           await new Promise((wake) => setTimeout(wake, 150));
         }
       }).then((dir) => console.log(dir));`,
    );
    const run = () =>
      new Promise<number | null>((done) =>
        spawn(process.execPath, ["--import", "tsx", script, cache], { cwd: root, stdio: "inherit" }).on(
          "exit",
          done,
        ),
      );
    expect(await Promise.all([run(), run(), run()])).toEqual([0, 0, 0]);
    expect(readFileSync(join(cache, "tool-1", "tool"), "utf8")).toBe("ab");
    expect(readFileSync(join(cache, ".lock-count"), "utf8")).toBe("x");
  });
});
