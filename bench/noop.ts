import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { prepareAll } from "../cli/commands/setup";
import type { Pulumi } from "../cli/pulumi";
import { projectRoot } from "../setup/project";
import { createReporter } from "../setup/report";
import { UserError } from "../setup/user-error";
import { canRunPrivileged } from "../test/harness/docker";
import { freePort, TestStack } from "../test/harness/stack";

const rounds = 7;
/** At most this many times an empty program (issue F). */
const goal = 1.6;

/**
 * `npm run bench:noop`: how long an `up` with nothing to do takes, against an empty Pulumi program, turn by turn in
 * one run. Prints a table, writes bench/results/noop.json and fails where the ratio of the medians misses the goal.
 */
export async function benchNoop(): Promise<void> {
  const report = createReporter();
  const { pulumi } = await prepareAll("dev", report);
  const stack = new TestStack("test-bench", {
    hostPort: await freePort(),
    privileged: await canRunPrivileged(),
    kvmCheck: "device",
    volumes: '{"keep":false}',
  });
  const empty = ["--cwd", join(projectRoot, "bench/programs/empty"), "--stack", "test-bench-empty"];
  try {
    const deployed = await report.step("Deploy the stack that is measured", () => stack.up());
    if (deployed.exitCode !== 0) throw new UserError(`The stack could not be deployed:\n${deployed.output}`);
    await pulumi.read(["stack", "init", ...empty]);
    const times = await report.step(`Measure, ${rounds} rounds`, () => measure(pulumi, stack.name, empty));
    print(times);
  } finally {
    await pulumi.read(["stack", "rm", "--yes", "--force", ...empty]).catch(() => {});
    await stack.remove();
  }
}

interface Times {
  stack: number[];
  empty: number[];
}

async function measure(pulumi: Pulumi, stack: string, empty: string[]): Promise<Times> {
  const times: Times = { stack: [], empty: [] };
  const up = ["up", "--yes", "--skip-preview"];
  for (let round = -1; round < rounds; round++) {
    const seconds = {
      empty: await secondsOf(() => pulumi.read([...up, ...empty])),
      stack: await secondsOf(() => pulumi.read([...up, "--stack", stack])),
    };
    if (round < 0) continue; // warm-up
    times.empty.push(seconds.empty);
    times.stack.push(seconds.stack);
  }
  return times;
}

async function secondsOf(run: () => Promise<unknown>): Promise<number> {
  const started = process.hrtime.bigint();
  await run();
  return Number(process.hrtime.bigint() - started) / 1e9;
}

function print({ stack, empty }: Times): void {
  const ratio = median(stack) / median(empty);
  const line = (name: string, times: number[]) =>
    `| ${name} | ${median(times).toFixed(2)} s | ${Math.min(...times).toFixed(2)}–${Math.max(...times).toFixed(2)} s |`;
  console.log(["| no-op `pulumi up` | median | spread |", "| --- | --- | --- |"].join("\n"));
  console.log([line("empty program", empty), line("this stack", stack)].join("\n"));
  console.log(`ratio ${ratio.toFixed(2)}, goal at most ${goal}`);
  const folder = join(projectRoot, "bench/results");
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, "noop.json"), `${JSON.stringify({ stack, empty, ratio, goal }, null, 2)}\n`);
  if (ratio > goal) process.exitCode = 1;
}

function median(values: number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}
