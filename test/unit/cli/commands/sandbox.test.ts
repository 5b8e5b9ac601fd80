import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, test, vi } from "vitest";
import { inNames, isAnswer, sandbox } from "../../../../cli/commands/sandbox";
import { createReporter } from "../../../../setup/report";

describe("a server that answers slowly", () => {
  let folder = "";
  const { PATH } = process.env;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "slow-server-test-"));
    const names = '{"id":"1","name":"web","owner":null,"handle":"m1"}';
    const script = `#!/bin/sh
sleep 0.3
case "$*" in *names*) echo '${names}' ;; *) echo '[{"name":"m1","status":"Running"}]' ;; esac
`;
    writeFileSync(join(folder, "docker"), script);
    chmodSync(join(folder, "docker"), 0o755);
    process.env.PATH = `${folder}:${PATH}`;
  });
  afterAll(() => {
    process.env.PATH = PATH;
    rmSync(folder, { recursive: true });
  });

  it.each([
    [["ls"], "sandboxes", /^NAME.*\nweb +Running/],
    [["logs", "web"], "sandboxes", ["logs", "m1"]],
    [["volume", "ls"], "volumes", /^NAME.*\nweb /],
    [["volume", "inspect", "web"], "volumes", ["volume", "inspect", "m1"]],
  ])("is said to be waited for by %j", async (words, what, answer) => {
    const lines: string[] = [];
    const report = createReporter({ write: (line) => void lines.push(line), heartbeatMs: 20 });
    const server = { container: "m-server", connection: { kind: "local" } as const };
    const spoken = await inNames(server, words, report);
    if (answer instanceof RegExp) expect(spoken).toMatch(answer);
    else expect(spoken).toEqual(answer);
    expect(lines.length).toBeGreaterThan(0);
    for (const line of lines) expect(line).toMatch(new RegExp(`s: asking the server for its ${what}$`));
  });
});

it.each([["--help"], ["-h"], [""]])("has a help before there are tools and a server: %j", async (word) => {
  const said: string[] = [];
  const log = vi.spyOn(console, "log").mockImplementation((text) => void said.push(text));
  vi.stubEnv("XDG_CACHE_HOME", join(tmpdir(), "there-are-no-tools-here"));
  vi.stubEnv("PATH", "/nowhere");
  try {
    await sandbox(word ? [word] : []);
  } finally {
    log.mockRestore();
  }
  expect(said.join("\n")).toMatch(/Usage: npm run sandbox -- [\s\S]* run IMAGE -- COMMAND[\s\S]*npm run up$/);
});

test.each([
  ["ls", true],
  ["logs web", true],
  ["logs -f web", false],
  ["logs web --follow", false],
  ["image ls", true],
  ["image pull ls", false],
  ["volume inspect data", true],
  ["inspect web", true],
  ["run starter", false],
  ["exec ls -- inspect", false],
  ["", false],
])("lines of progress may come before the output of %j: %s", (words, expected) => {
  expect(isAnswer(words.split(" "))).toBe(expected);
});
