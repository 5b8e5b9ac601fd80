import type { Command } from "commander";
import { expect, it } from "vitest";
import { program } from "../../../cli/program";

/** What a command prints before it ends, and whether it ended with an error. */
function printed(words: string[]): { text: string; failed: boolean } {
  let text = "";
  const write = (more: string) => {
    text += more;
  };
  const cli = program();
  const catchAll = (command: Command) => {
    command.exitOverride().configureOutput({ writeOut: write, writeErr: write });
    command.commands.forEach(catchAll);
  };
  catchAll(cli);
  try {
    cli.parse(["node", "main.ts", ...words]);
  } catch (error) {
    return { text, failed: (error as { exitCode?: number }).exitCode !== 0 };
  }
  throw new Error(`${words.join(" ")} was run`);
}

it.each([
  ["keys add", /missing required argument 'id'/, "npm run keys -- add [options] <id>"],
  ["keys frobnicate", /unknown command/, "npm run keys -- add | list | revoke | rotate"],
  ["keys ad x", /Did you mean add\?/, "npm run keys -- add | list | revoke | rotate"],
  ["keys", /Commands:/, "npm run keys -- add | list | revoke | rotate"],
  ["up --stak dev", /Did you mean --stack\?/, "npm run up -- [options]"],
  ["backup", /missing required argument 'file'/, "npm run backup -- [options] <file>"],
  [
    "image push",
    /missing required argument 'repository'/,
    "npm run image -- [options] <action> <repository>",
  ],
])("tells how to use the command after a mistake: %s", (words, error, usage) => {
  const { text, failed } = printed(words.split(" "));
  expect(failed).toBe(true);
  expect(text).toMatch(error);
  expect(text).toContain(`Usage: ${usage}\n`);
});

it.each(["up", "destroy", "doctor", "setup", "import", "keys list"])(
  "takes the name of a stack behind %s for a forgotten --stack",
  (words) => {
    const { text } = printed([...words.split(" "), "emulated"]);
    expect(text).toMatch(/too many arguments/);
    expect(text).toContain("To work on the stack emulated: npm run");
    expect(text).toContain("--stack emulated\n");
    expect(printed([...words.split(" "), "no-such-stack"]).text).not.toContain("To work on");
  },
);

it("names in each command's help the line that npm takes", () => {
  const scripts = program().commands.filter((command) => !["pulumi", "sandbox"].includes(command.name()));
  expect(scripts.length).toBeGreaterThan(8);
  for (const script of scripts)
    expect(printed([script.name(), "--help"])).toEqual({
      text: expect.stringContaining(`Usage: npm run ${script.name()} -- `),
      failed: false,
    });
});
