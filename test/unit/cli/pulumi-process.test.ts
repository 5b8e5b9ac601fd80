import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, expect, it } from "vitest";

const folder = mkdtempSync(join(tmpdir(), "microsandbox-pulumi-process-"));
afterAll(() => rmSync(folder, { recursive: true }));
const [pulumi, command, heard] = ["pulumi", "command.mts", "heard"].map((name) => join(folder, name)) as [
  string,
  string,
  string,
];

/** A pulumi that writes down each signal, takes its time to save its state, and dies of a SIGHUP as the real one does. */
const PULUMI = `#!${process.execPath}
const { appendFileSync } = require("node:fs");
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"])
  process.on(signal, () => {
    appendFileSync(${JSON.stringify(heard)}, signal + "\\n");
    if (signal === "SIGHUP") process.exit(129);
    setTimeout(() => { appendFileSync(${JSON.stringify(heard)}, "saved\\n"); process.exit(255); }, 300);
  });
appendFileSync(${JSON.stringify(heard)}, "at work\\n");
setInterval(() => {}, 1e3);
`;

/** The ways in which the commands run pulumi. */
const ways = {
  "to be read": 'pulumi.read(["refresh", "--stack", "dev"])',
  "in the foreground": 'pulumi.run(["up"]).then((code) => { process.exitCode = code; })',
};

const program = (way: keyof typeof ways) => `
import { pulumiWith } from ${JSON.stringify(join(process.cwd(), "cli/pulumi.ts"))};
import { silentReporter } from ${JSON.stringify(join(process.cwd(), "setup/report.ts"))};
import { runProgram } from ${JSON.stringify(join(process.cwd(), "setup/run-program.ts"))};
const backend = { source: "environment", url: "file:///nowhere" } as const;
const pulumi = pulumiWith({ binDir: ${JSON.stringify(folder)}, env: {} } as never, backend, silentReporter);
void runProgram(() => ${ways[way]});
`;

beforeAll(() => writeFileSync(pulumi, PULUMI, { mode: 0o755 }));

const read = () => readFileSync(heard, "utf8").split("\n").filter(Boolean);

/** Starts a command, signals it once pulumi is at work, and waits for it. */
async function signalled(way: keyof typeof ways, signal: NodeJS.Signals, to: "process" | "group" | "both") {
  writeFileSync(heard, "");
  writeFileSync(command, program(way));
  const child = spawn(process.execPath, ["--import", "tsx", command], { detached: true });
  let said = "";
  child.stderr.on("data", (text) => {
    said += text;
  });
  const ended = new Promise<number | null>((resolve) => child.once("close", resolve));
  while (read().length === 0 && child.exitCode === null)
    await new Promise((resolve) => setTimeout(resolve, 20));
  const pid = child.pid ?? 0;
  if (to !== "process") process.kill(-pid, signal);
  if (to !== "group") process.kill(pid, signal);
  return { code: await ended, heard: read(), said: said.trim() };
}

it("pulumi gets one request to end, however this process got it, and is waited for", {
  timeout: 300_000,
}, async () => {
  const requests = fc.record({
    way: fc.constantFrom(...(Object.keys(ways) as (keyof typeof ways)[])),
    signal: fc.constantFrom("SIGINT", "SIGTERM", "SIGHUP"),
    // A terminal, `timeout` and a service manager signal a group; npm's script passes on what it gets, besides.
    to: fc.constantFrom("process", "group", "both"),
  });
  await fc.assert(
    fc.asyncProperty(requests, async ({ way, signal, to }) => {
      const [code, said] = way === "to be read" ? [1, "Interrupted."] : [255, ""];
      expect(await signalled(way, signal, to)).toEqual({ code, heard: ["at work", "SIGINT", "saved"], said });
    }),
    { numRuns: 5 },
  );
});
