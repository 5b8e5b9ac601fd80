import { chmodSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { Msb } from "../../../docker/gateway/src/backends/msb/command-line";
import { SandboxCommands } from "../../../docker/gateway/src/backends/msb/sandbox-commands";
import { temporaryFolder } from "./harness";

/** Commands over an msb that notes each stop with its time, and then does what the script says. */
function commands(body: string) {
  const home = temporaryFolder();
  const [path, log] = [join(home, "msb"), join(home, "log")];
  writeFileSync(
    path,
    `#!/bin/sh\nfor name; do :; done\necho "$(date +%s%3N) $*" >>${log}\ncase $* in *--force*) exit 0 ;; esac\n${body}\n`,
  );
  chmodSync(path, 0o755);
  const calls = () =>
    existsSync(log)
      ? readFileSync(log, "utf8")
          .trim()
          .split("\n")
          .map((line) => ({ at: Number(line.split(" ")[0]), force: line.includes("--force"), line }))
      : [];
  const msb = new Msb({ path, home });
  const release = () => writeFileSync(join(home, "release"), "");
  return {
    calls,
    release,
    msb,
    it: new SandboxCommands(msb, join(home, "tmp"), { remove: async () => undefined }),
  };
}

describe("a stop", () => {
  test("that waited for its turn has its whole time all the same", async () => {
    const { msb } = commands("sleep 1");
    const first = Array.from({ length: 16 }, (_, index) =>
      msb.ok(["stop", "--", "a"], { owner: `o${index}` }),
    );
    const next = msb.ok(["stop", "--", "b"], { owner: "late", timeoutMs: 1_700 });
    await Promise.all([...first, next]);
  });

  test("whose turn does not come in time fails, and forces nothing", async () => {
    const { it, msb, calls } = commands("sleep 2");
    const full = Array.from({ length: 16 }, (_, index) =>
      msb.run(["stop", "--", `full-${index}`], { owner: `o${index}` }),
    );
    // A grace time that leaves a second to wait.
    await expect(it.stop("late", -14, { owner: "ann" })).rejects.toMatchObject({ kind: "timeout" });
    await Promise.all(full);
    expect(calls().filter(({ line }) => line.includes("late"))).toEqual([]);
  });

  test("that msb fails at is asked for again, and forced when its time is over", async () => {
    const { it, calls } = commands('echo "error: database is closed" >&2; exit 1');
    const begun = Date.now();
    await it.stop("box", 3, { owner: "ann" });
    const all = calls();
    const forced = all.at(-1);
    expect(all.slice(0, -1).every(({ force }) => !force)).toBe(true);
    expect(forced?.force).toBe(true);
    expect((forced?.at ?? 0) - begun).toBeGreaterThanOrEqual(3_000);
  });

  test("of one owner leaves half of the turns to others, and removals wait for none", async () => {
    const { it, msb, release } = commands(
      'case $name in ann-*) while [ ! -e "$(dirname "$0")/release" ]; do sleep 0.1; done ;; esac',
    );
    const anns = Array.from({ length: 24 }, (_, index) => it.stop(`ann-${index}`, 100, { owner: "ann" }));
    // None of ann's ends before these two have.
    await it.stop("bob", 100, { owner: "bob" });
    await it.remove("gone", { owner: "ann" });
    expect(msb.lanes.counts().find(({ lane }) => lane === "stops")?.running).toBe(8);
    release();
    await Promise.all(anns);
  });
});
