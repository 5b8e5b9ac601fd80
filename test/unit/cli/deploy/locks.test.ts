import { spawn } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, expect, it, vi } from "vitest";
import { hasDeadLock, runningPulumi } from "../../../../cli/deploy/locks";
import { recoverStack } from "../../../../cli/deploy/recover";
import type { Pulumi } from "../../../../cli/pulumi";
import { silentReporter } from "../../../../setup/report";

const folder = mkdtempSync(join(tmpdir(), "microsandbox-locks-"));
const locks = join(folder, ".pulumi/locks/organization/microsandbox/dev");
afterAll(() => rmSync(folder, { recursive: true }));
afterEach(() => rmSync(locks, { recursive: true, force: true }));

const DEAD = 4_194_000;
const lock = (pid: number, host = hostname(), name = "one") => {
  mkdirSync(locks, { recursive: true });
  writeFileSync(join(locks, `${name}.json`), JSON.stringify({ pid, hostname: host }));
};
const seesAll = () => true;

it("a lock of a process of this machine that has ended is dead", () => {
  expect(hasDeadLock("dev", folder, seesAll)).toBe(false);
  lock(DEAD);
  expect(hasDeadLock("dev", folder, seesAll)).toBe(true);
  expect(hasDeadLock("organization/microsandbox/dev", folder, seesAll)).toBe(true);
});

it("a lock of another machine, or one beside it, is not", () => {
  lock(DEAD, "elsewhere");
  expect(hasDeadLock("dev", folder, seesAll)).toBe(false);
  lock(DEAD, hostname(), "two");
  expect(hasDeadLock("dev", folder, seesAll)).toBe(false);
});

it("no lock is dead where another machine or container may hold it, whose processes can't be seen", () => {
  lock(DEAD);
  expect(hasDeadLock("dev", folder, () => false)).toBe(false);
});

it.each(["", "{}", '{"pid":"4194000","hostname":null}', '{"owner":{"pid":4194000}}', "null"])(
  "a lock of a form that is not known is not dead: Pulumi's own message names `pulumi cancel` then: %j",
  (text) => {
    lock(DEAD);
    writeFileSync(join(locks, "two.json"), text);
    expect(hasDeadLock("dev", folder, seesAll)).toBe(false);
  },
);

it("a lock of a pulumi that runs is alive", async () => {
  const pulumi = join(folder, "pulumi");
  copyFileSync("/bin/sleep", pulumi);
  const running = spawn(pulumi, ["60"], { stdio: "ignore" });
  try {
    await new Promise((resolve) => running.once("spawn", resolve));
    lock(running.pid ?? 0);
    expect(hasDeadLock("dev", folder, seesAll)).toBe(false);
    expect(runningPulumi("dev", folder)).toBe(running.pid);
  } finally {
    running.kill("SIGKILL");
    await new Promise((resolve) => running.once("exit", resolve));
  }
  expect(hasDeadLock("dev", folder, seesAll)).toBe(true);
  expect(runningPulumi("dev", folder)).toBeUndefined();
});

it("recovery leaves a run alone that is at work, and says which process to wait for", async () => {
  const pulumi = join(folder, "pulumi-at-work");
  copyFileSync("/bin/sleep", pulumi);
  const running = spawn(pulumi, ["60"], { stdio: "ignore" });
  const url = process.env.PULUMI_BACKEND_URL;
  process.env.PULUMI_BACKEND_URL = `file://${folder}`;
  const read = vi.fn();
  try {
    await new Promise((resolve) => running.once("spawn", resolve));
    lock(running.pid ?? 0);
    await expect(recoverStack("dev", [], { read } as unknown as Pulumi, silentReporter)).rejects.toThrow(
      `Another run is at work on stack dev (pulumi, process ${running.pid})`,
    );
    expect(read).not.toHaveBeenCalled();
  } finally {
    if (url === undefined) delete process.env.PULUMI_BACKEND_URL;
    else process.env.PULUMI_BACKEND_URL = url;
    running.kill("SIGKILL");
    await new Promise((resolve) => running.once("exit", resolve));
  }
});

it.skipIf(process.getuid?.() !== 0)(
  "a lock of a pulumi in a container is alive, by the id that it has there",
  async () => {
    const pulumi = join(folder, "pulumi-inside");
    copyFileSync("/bin/sleep", pulumi);
    // In a namespace of its own it is number 1; `unshare` itself stays outside.
    const running = spawn("unshare", ["--pid", "--fork", "--kill-child", pulumi, "60"], { stdio: "ignore" });
    try {
      await new Promise((resolve) => running.once("spawn", resolve));
      lock(1);
      await expect.poll(() => hasDeadLock("dev", folder, seesAll), { timeout: 10_000 }).toBe(false);
    } finally {
      running.kill("SIGKILL");
      await new Promise((resolve) => running.once("exit", resolve));
    }
    await expect.poll(() => hasDeadLock("dev", folder, seesAll), { timeout: 10_000 }).toBe(true);
  },
);
