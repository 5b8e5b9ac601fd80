import { mkdirSync, writeFileSync } from "node:fs";
import { arch, cpus } from "node:os";
import { join } from "node:path";
import { projectRoot } from "../setup/project";
import { createReporter } from "../setup/report";
import { createToOutput } from "./gateway/create";
import { eventLoop } from "./gateway/event-loop";
import { type Line, median, type Skipped, table } from "./gateway/figures";
import { idleMemory } from "./gateway/idle-memory";
import { imageSize } from "./gateway/image-size";
import { latency } from "./gateway/latency";
import { list } from "./gateway/list";
import { manyPipes } from "./gateway/many-pipes";
import { router, routerList } from "./gateway/router";
import { scale } from "./gateway/scale";
import { makeBundles, type Rig, removeBundles, startRig } from "./gateway/setup";
import { throughput } from "./gateway/throughput";

export type BenchGatewayOptions = {
  /** A deployed stack, for what needs a microVM; without it that line is skipped, with the reason. */
  stack?: string;
};

/** Sandboxes over which the 500 pipes are spread: msb's relay takes 128 connections of each. */
const SANDBOXES = 5;

/**
 * `npm run bench`: the gateway against socat, bare fastify and msb itself, each line measured with its comparison in
 * turn. Prints one table, writes bench/results/gateway.json, and ends with exit code 1 where a goal is missed or a line
 * could not be measured.
 * @throws UserError if the gateway's packages are missing
 */
export async function benchGateway({ stack }: BenchGatewayOptions = {}): Promise<void> {
  const report = createReporter();
  const bundles = await report.step("Bundle the gateway", makeBundles);
  const lines: Line[] = [];
  const skipped: Skipped[] = [];
  const measure = async (name: string, run: () => Promise<Line[] | Skipped>): Promise<void> => {
    try {
      const result = await report.step(name, run);
      if (Array.isArray(result)) lines.push(...result);
      else skipped.push(result);
    } catch (error) {
      // What was measured before it, in minutes, is told all the same.
      const reason = error instanceof Error ? error.message : String(error);
      skipped.push({ what: name, reason, failed: true });
    }
  };
  const withRig = async (run: (rig: Rig) => Promise<Line[]>): Promise<Line[]> => {
    // Each on a new gateway: what one leaves in memory is not the next one's.
    const rig = await startRig(bundles, SANDBOXES);
    try {
      return await run(rig);
    } finally {
      await rig.stop();
    }
  };
  try {
    await measure("Pipe: bytes per second", () => withRig(throughput));
    await measure("Pipe: round trips", () => withRig(latency));
    await measure("Pipe: 500 at once", () => withRig(manyPipes));
    await measure("List of sandboxes", () => list(bundles));
    await measure("10,000 sandboxes", () => scale(bundles));
    await measure("Event loop", () => eventLoop(bundles));
    await measure("Router before a server", () => router(bundles));
    await measure("Router before ten servers", () => routerList(bundles));
    await measure("Idle memory", () => idleMemory(bundles));
    await measure("Image size", imageSize);
    await measure("Create to first output", () => createToOutput(stack, report));
  } finally {
    removeBundles(bundles);
  }
  console.log(table(lines, skipped));
  write(lines, skipped);
  if (lines.some(({ met }) => !met) || skipped.some(({ failed }) => failed)) process.exitCode = 1;
}

function write(lines: Line[], skipped: Skipped[]): void {
  const folder = join(projectRoot, "bench/results");
  mkdirSync(folder, { recursive: true });
  const machine = { node: process.version, cpus: cpus().length, model: cpus()[0]?.model, arch: arch() };
  const medians = lines.map((line) => ({
    ...line,
    median: median(line.ours),
    theirMedian: median(line.theirs),
  }));
  const result = { at: new Date().toISOString(), machine, lines: medians, skipped };
  writeFileSync(join(folder, "gateway.json"), `${JSON.stringify(result, null, 2)}\n`);
}
