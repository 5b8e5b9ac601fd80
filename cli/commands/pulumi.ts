import { createReporter, type Reporter } from "../../setup/report";
import { ensureTools } from "../../setup/tools";
import { openForPaths, pathChange } from "../config-path";
import { type Pulumi, pulumiWith } from "../pulumi";
import { chooseStack, stackFile } from "../stack";

/** Commands that read or change the settings of a stack, which needs not be deployed for it. */
const ON_A_STACK = ["config", "preview", "up", "update", "refresh", "destroy"];

/** `npm run pulumi -- ARGS`: any pulumi command with this project's tools, backend and passphrase. */
export async function passThrough(args: string[]): Promise<void> {
  const report = createReporter();
  const pulumi = pulumiWith(await ensureTools(report));
  const [command = ""] = args;
  const isHelp = args.includes("--help") || args.includes("-h");
  const stack =
    ON_A_STACK.includes(command) && !isHelp ? await openStack(stackOption(args), pulumi, report) : undefined;
  const change = pathChange(args);
  if (stack && change && change.settings.length > 0) {
    for (const setting of openForPaths(stackFile(stack), change.settings))
      report.say(`${setting} was JSON in ${stackFile(stack)}: it is YAML now, and keeps its other fields.`);
  }
  process.exitCode = await pulumi.run(args);
}

/**
 * The stack that the command means, by the rule of all commands. One that has a settings file and was never deployed is
 * made in the backend, as `up` would; one that nobody has named or selected is selected.
 */
async function openStack(asked: string | undefined, pulumi: Pulumi, report: Reporter): Promise<string> {
  const stack = await chooseStack(asked, pulumi, report);
  const known: { name: string }[] = JSON.parse(await pulumi.read(["stack", "ls", "--json"]));
  const isKnown = known.some(({ name }) => name === stack);
  if (asked === undefined) await pulumi.read(["stack", "select", "--create", stack]);
  else if (!isKnown) await pulumi.read(["stack", "init", "--no-select", stack]);
  return stack;
}

/** What `--stack` says among the arguments of pulumi. */
export function stackOption(args: readonly string[]): string | undefined {
  const end = args.indexOf("--");
  const words = end < 0 ? args : args.slice(0, end);
  for (const [index, word] of words.entries()) {
    const [, joined] = /^(?:--stack|-s)=(.+)$/s.exec(word) ?? [];
    if (joined) return joined;
    if (word === "--stack" || word === "-s") return words[index + 1];
  }
  return undefined;
}
