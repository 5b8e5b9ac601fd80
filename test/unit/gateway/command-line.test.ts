import { execFile } from "node:child_process";
import { setMaxListeners } from "node:events";
import { chmodSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { describe, expect, test } from "vitest";
import { Msb } from "../../../docker/gateway/src/backends/msb/command-line";
import { type Lane, Lanes } from "../../../docker/gateway/src/backends/msb/lanes";
import { randomFrom } from "../../harness/random";
import { temporaryFolder, until } from "./harness";

/** A call of the server's own. */
const NOBODY = { owner: null };

/** An msb that is this script. */
function msb(script: string): { msb: Msb; home: string } {
  const home = temporaryFolder();
  const path = join(home, "msb");
  writeFileSync(path, `#!/bin/sh\n${script}\n`);
  chmodSync(path, 0o755);
  return { msb: new Msb({ path, home }), home };
}

/** Whether a process is there. */
function lives(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

const pidsIn = (home: string): number[] =>
  existsSync(join(home, "pids"))
    ? readFileSync(join(home, "pids"), "utf8").trim().split("\n").map(Number)
    : [];

const hanging = 'echo $$ >>"$MSB_HOME/pids"; exec sleep 60';

describe("a process of msb", () => {
  test("that finds no descriptor is refused for now, and nothing else happens", async () => {
    const program = join(__dirname, "no-descriptors.ts");
    const line = `ulimit -n 128 && exec "${process.execPath}" --import tsx "${program}"`;
    const { stdout } = await promisify(execFile)("sh", ["-c", line], { cwd: __dirname });
    expect(stdout.trim()).toBe("unavailable");
  });

  test("is ended at its deadline, which is told", async () => {
    const { msb: it, home } = msb(hanging);
    await expect(it.ok(["ls"], { ...NOBODY, timeoutMs: 300 })).rejects.toMatchObject({ kind: "timeout" });
    expect(pidsIn(home).filter(lives)).toEqual([]);
  });

  test("is ended by a signal, by force where it does not listen", async () => {
    const { msb: it, home } = msb(`trap '' TERM; echo $$ >>"$MSB_HOME/pids"; while :; do sleep 0.1; done`);
    const gone = new AbortController();
    const call = it.ok(["pull", "x"], { ...NOBODY, signal: gone.signal });
    await until(() => pidsIn(home).length === 1, "the process");
    gone.abort(new Error("the client went"));
    await expect(call).rejects.toThrow("the client went");
    expect(pidsIn(home).filter(lives)).toEqual([]);
  });

  test("that can't be started is told by what kept it", async () => {
    const missing = new Msb({ path: "/nonexistent/msb", home: "/tmp" });
    await expect(missing.ok(["ls"], NOBODY)).rejects.toMatchObject({ kind: "unavailable" });
    const { msb: it } = msb("exit 0");
    await expect(it.ok(["create", "x".repeat(200_000)], NOBODY)).rejects.toMatchObject({
      kind: "invalidSpec",
    });
    await expect(
      it.ok(
        Array.from({ length: 40 }, () => "x".repeat(100_000)),
        NOBODY,
      ),
    ).rejects.toMatchObject({
      kind: "invalidSpec",
    });
  });

  test("that never stops talking is ended", async () => {
    const endless = msb("exec cat /dev/zero").msb;
    await expect(endless.ok(["ls"], { ...NOBODY, timeoutMs: 20_000 })).rejects.toMatchObject({
      kind: "runtimeFailed",
    });
  });

  test("that found the database busy is asked again, within its time", async () => {
    const busy = `n=$(cat "$MSB_HOME/n" 2>/dev/null || echo 0); echo $((n + 1)) >"$MSB_HOME/n"
[ "$n" -ge "$(cat "$MSB_HOME/times")" ] || { echo "error: database is locked" >&2; exit 1; }; echo done`;
    const tries = (home: string) => Number(readFileSync(join(home, "n"), "utf8"));
    for (const [times, command, expected] of [
      [2, ["rm", "x"], 3],
      [99, ["rm", "x"], 5],
      [99, ["create", "x"], 1],
    ] as const) {
      const { msb: it, home } = msb(busy);
      writeFileSync(join(home, "times"), String(times));
      const call = it.ok([...command], NOBODY);
      if (times < 5) expect(await call).toBe("done\n");
      else await expect(call).rejects.toMatchObject({ kind: "unavailable" });
      expect(tries(home)).toBe(expected);
    }
  });
});

describe("lanes", () => {
  const NAMES: Lane[] = ["reads", "stops", "removals", "boots", "pulls", "captures", "housekeeping"];
  const soon = () => Date.now() + 60_000;

  test("that are full hold up no other, and owners have half of one at most", async () => {
    const lanes = new Lanes();
    const running = new Map<string, number>();
    const most = new Map<string, number>();
    let release = () => {};
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    const work = (key: string) => async () => {
      const now = (running.get(key) ?? 0) + 1;
      running.set(key, now);
      most.set(key, Math.max(most.get(key) ?? 0, now));
      await held;
      running.set(key, (running.get(key) ?? 1) - 1);
    };
    const calls = Array.from({ length: 40 }, () =>
      lanes.run("pulls", { owner: "a", deadlineMs: soon() }, work("a")),
    );
    for (const lane of NAMES)
      expect(await lanes.run(lane, { owner: "b", deadlineMs: soon() }, async () => lane)).toBe(lane);
    expect(running.get("a")).toBe(2);
    release();
    await Promise.all(calls);
    expect(most.get("a")).toBe(2);
  });

  test("end the waiting at its deadline and by its signal, and lose no place", async () => {
    const random = randomFrom(1);
    const pick = (below: number) => random.between(0, below - 1);
    const lanes = new Lanes();
    let running = 0;
    let most = 0;
    const work = async () => {
      most = Math.max(most, ++running);
      await sleep(1 + pick(8));
      running--;
    };
    const outcomes = { ran: 0, late: 0, left: 0 };
    await Promise.all(
      Array.from({ length: 400 }, async () => {
        const gone = new AbortController();
        const leaves = pick(3) === 0;
        if (leaves) setTimeout(() => gone.abort(new Error("left")), pick(200));
        const turn = {
          owner: `owner-${pick(40)}`,
          signal: gone.signal,
          deadlineMs: Date.now() + pick(400),
        };
        try {
          await lanes.run("pulls", turn, work);
          outcomes.ran++;
        } catch (error) {
          if ((error as Error).message === "left") outcomes.left++;
          else {
            expect(error).toMatchObject({ kind: "timeout" });
            outcomes.late++;
          }
        }
      }),
    );
    expect(outcomes.ran + outcomes.late + outcomes.left).toBe(400);
    expect(Math.min(outcomes.ran, outcomes.late, outcomes.left)).toBeGreaterThan(0);
    expect(most).toBe(4);
    expect(running).toBe(0);
    // All places are free again.
    let inside = 0;
    await Promise.all(
      Array.from({ length: 4 }, (_, index) =>
        lanes.run("pulls", { owner: `${index}`, deadlineMs: soon() }, async () => {
          inside++;
          await until(() => inside === 4, "all four at once");
        }),
      ),
    );
  });

  test("refuse where too many wait, and go on", async () => {
    const lanes = new Lanes();
    const gone = new AbortController();
    setMaxListeners(0, gone.signal);
    const hang = () => new Promise<void>((resolve) => gone.signal.addEventListener("abort", () => resolve()));
    const calls = Array.from({ length: 600 }, (_, index) =>
      lanes
        .run("pulls", { owner: `${index}`, signal: gone.signal, deadlineMs: soon() }, hang)
        .catch((error) => error.kind ?? "left"),
    );
    gone.abort(new Error("left"));
    const answers = await Promise.all(calls);
    expect(answers.filter((each) => each === "unavailable")).toHaveLength(96);
    expect(await lanes.run("pulls", { ...NOBODY, deadlineMs: soon() }, async () => "again")).toBe("again");
  });
});
