import type { Command } from "commander";
import { stackNames } from "./stack";

/** Has each command tell how it is used: in its help, and after a mistake in its words. */
export function explainUsage(cli: Command): void {
  for (const command of cli.commands) {
    command.configureHelp({ commandUsage: lineOf });
    const outputError = (text: string, write: (text: string) => void) => write(text + hintFor(command, text));
    command.configureOutput({ outputError });
    explainUsage(command);
  }
}

/** @example "npm run keys -- add [options] <id>": npm keeps what comes before the `--` to itself */
function lineOf(command: Command): string {
  const [script = "", ...words] = namesOf(command);
  const below = command.commands.map((each) => each.name()).join(" | ");
  return ["npm run", script, "--", ...words, below || command.usage()].join(" ").trimEnd();
}

/** The names of a command below the program, the outermost first. */
const namesOf = (command: Command): string[] =>
  command.parent ? [...namesOf(command.parent), command.name()] : [];

function hintFor(command: Command, text: string): string {
  const [script = "", ...words] = namesOf(command);
  const help = ["npm run", script, "--", ...words, "--help"].join(" ");
  const stack = command.args[command.registeredArguments.length] ?? "";
  const isStack = /too many arguments/.test(text) && stackNames().includes(stack);
  const line = ["npm run", script, "--", ...words, "--stack", stack].join(" ");
  const meant = isStack ? `To work on the stack ${stack}: ${line}\n` : "";
  return `${meant}Usage: ${lineOf(command)}\nMore: ${help}\n`;
}
