import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { pulumiWith } from "../../../cli/pulumi";
import { createReporter } from "../../../setup/report";

let binDir = "";
beforeAll(() => {
  binDir = mkdtempSync(join(tmpdir(), "pulumi-test-"));
  writeFileSync(join(binDir, "pulumi"), "#!/bin/sh\ncat >/dev/null\nsleep 0.3\n");
  chmodSync(join(binDir, "pulumi"), 0o755);
});
afterAll(() => rmSync(binDir, { recursive: true }));

it.each([
  [["stack", "output", "--json", "--stack", "dev"], "stack output"],
  [["config", "--json"], "config"],
  [["up", "--yes", "--target", "a"], "up"],
  [["config", "set", "--secret", "microsandbox:apiKey"], "config set"],
])("says of a slow %j which command is waited for, without its options", async (args, command) => {
  const lines: string[] = [];
  const report = createReporter({ write: (line) => void lines.push(line), heartbeatMs: 20 });
  const backend = { source: "environment", url: "file:///nowhere" } as const;
  const pulumi = pulumiWith({ binDir, env: {} } as Parameters<typeof pulumiWith>[0], backend, report);
  await (args.includes("--secret") ? pulumi.write(args, "SECRET") : pulumi.read(args));
  expect(lines.length).toBeGreaterThan(0);
  for (const line of lines) {
    expect(line).toMatch(/^ {2}… [\d.]+ s: waiting for Pulumi /);
    expect(line.endsWith(`(${command})`)).toBe(true);
  }
});
