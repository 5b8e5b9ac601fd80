import { createReporter, type Reporter } from "../../setup/report";
import { ensureTools } from "../../setup/tools";
import { findBackend } from "../backend";
import { pulumiWith } from "../pulumi";
import { makeStack, type OpenStack, openStack } from "../stack";

/** Commands that read or change the settings of a stack, which needs not be deployed for it. */
const ON_A_STACK = ["config", "preview", "up", "update", "refresh", "destroy"];

/** `npm run pulumi -- ARGS`: any pulumi command with this project's tools, backend and passphrase. */
export async function passThrough(args: string[]): Promise<void> {
  const report = createReporter();
  const [command = ""] = args;
  const asked = stackOption(args);
  const isOnStack = ON_A_STACK.includes(command) && !args.includes("--help") && !args.includes("-h");
  const open = isOnStack ? await madeStack(asked, report) : undefined;
  const pulumi = open?.pulumi ?? pulumiWith(await ensureTools(report), findBackend(asked), report);
  process.exitCode = await pulumi.run(args);
  // It has printed its reason. Of a passphrase that is wrong, reading the settings fails with where it came from.
  if (process.exitCode && open)
    await open.pulumi.read(["config", "--show-secrets", "--stack", open.stack]).catch((error: unknown) => {
      if (/passphrase/.test(String(error))) throw error;
    });
}

/**
 * The stack that the command means, by the rule of all commands. One that has a settings file and was never deployed is
 * made in the backend, as `up` would; one that nobody has named or selected is selected.
 */
async function madeStack(asked: string | undefined, report: Reporter): Promise<OpenStack> {
  const open = await openStack(asked, report);
  const { stack, pulumi } = open;
  await makeStack(stack, pulumi, report, { selects: asked === undefined });
  return open;
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
