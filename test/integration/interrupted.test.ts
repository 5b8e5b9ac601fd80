import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, it } from "vitest";
import { stateFolder } from "../../cli/backend";
import type { Child } from "../../setup/exec";
import { canRunPrivileged, docker, ownedBy } from "../harness/docker";
import { freePort, TestStack } from "../harness/stack";

const container = "microsandbox-test-cut-server";
const late = { timeout: 60_000, interval: 500 };
let stack: TestStack;

beforeAll(async () => {
  stack = new TestStack("test-cut", {
    hostPort: await freePort(),
    privileged: await canRunPrivileged(),
    kvmCheck: "device",
    stopTimeout: 5,
    volumes: '{"keep":false}',
  });
});
afterAll(() => stack.remove());

/** The pid in the lock that a running pulumi holds on the stack. */
function lockOwner(): number | undefined {
  try {
    const folder = join(stateFolder, ".pulumi/locks/organization/microsandbox", stack.name);
    const [file] = readdirSync(folder);
    return file ? JSON.parse(readFileSync(join(folder, file), "utf8")).pid : undefined;
  } catch {
    return undefined;
  }
}

/** Starts `up` and kills pulumi with SIGKILL as soon as `when` holds. */
async function upCutOff(when: () => Promise<boolean>): Promise<void> {
  const running = stack.up();
  for (let turn = 0; !(await when()); turn++) {
    if (turn > 1200) throw new Error("the moment to kill pulumi at did not come within two minutes");
    await sleep(100);
  }
  const pid = lockOwner();
  if (!pid) throw new Error("pulumi was not running any more when it was to be killed");
  process.kill(pid, "SIGKILL");
  expect((await running).exitCode).not.toBe(0);
}

it("goes on after a kill -9 of pulumi while it made the container", async () => {
  await upCutOff(async () => (await ownedBy(stack.name, "container")).length > 0);
  const { exitCode, output } = await stack.up();
  expect(exitCode, output).toBe(0);
  expect(output).toMatch(/was interrupted/);
  expect(await docker("inspect", "--format", "{{.State.Health.Status}}", container)).toBe("healthy");
});

it("goes on after a kill -9 of pulumi while it replaced the container, volumes kept", async () => {
  await docker("exec", container, "sh", "-c", "echo kept > /workspace/kept && sync");
  const before = await docker("inspect", "--format", "{{.Id}}", container);
  stack.configure({ logMaxFiles: 2 });
  await upCutOff(async () => !(await docker("ps", "--all", "--quiet", "--no-trunc")).includes(before));
  const { exitCode, output } = await stack.up();
  expect(exitCode, output).toBe(0);
  expect(await docker("exec", container, "cat", "/workspace/kept")).toBe("kept");

  const preview = await stack.pulumi("preview", "--expect-no-changes");
  expect(preview.exitCode, preview.output).toBe(0);
});

it.each(["SIGTERM", "SIGHUP"] as const)(
  "ends in good order where the script alone gets %s while the container is replaced",
  async (signal) => {
    const before = await docker("inspect", "--format", "{{.Id}}", container);
    stack.configure({ logMaxFiles: signal === "SIGTERM" ? 3 : 4 });
    let script: Child | undefined;
    const running = stack.up((child) => {
      script = child;
    });
    for (;;) {
      const ids = await docker("ps", "--all", "--quiet", "--no-trunc", "--filter", `name=${container}`);
      if (ids !== "" && !ids.includes(before)) break;
      await sleep(50);
    }
    script?.kill(signal);
    const { exitCode, output } = await running;
    expect(exitCode, output).toBe(1);
    expect(output).toMatch(/The up was interrupted\. To continue: npm run up -- --stack test-cut/);
    expect(lockOwner()).toBeUndefined();
    await expect
      .poll(() => docker("inspect", "--format", "{{.State.Health.Status}}", container), late)
      .toBe("healthy");

    const next = await stack.up();
    expect(next.exitCode, next.output).toBe(0);
    expect(next.output).not.toMatch(/was interrupted/);
    expect(await docker("exec", container, "cat", "/workspace/kept")).toBe("kept");
  },
);

it("a destroy after a kill -9 leaves nothing on the host, though the state does not have the container", async () => {
  expect((await stack.destroy()).exitCode).toBe(0);
  await upCutOff(async () => (await ownedBy(stack.name, "container")).length > 0);
  const { exitCode, output } = await stack.destroy();
  expect(exitCode, output).toBe(0);
  expect(output).toMatch(/Removing the container [0-9a-f]{12}: it was created but is not in Pulumi's state/);
  for (const kind of ["container", "network"] as const) expect(await ownedBy(stack.name, kind)).toEqual([]);
});
