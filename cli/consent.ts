import { createInterface } from "node:readline/promises";
import { UserError } from "../setup/user-error";

/** How a command asks before it acts. */
export interface Consent {
  /** @example "Destroy stack dev?" */
  question: string;
  /** Whether the user has said yes already, by `--yes`. */
  yes: boolean | undefined;
  /** Whether it refuses where nobody can be asked; else it goes on, having said what it does. */
  strict: boolean;
  /** What to type where nobody can be asked. @example "npm run destroy -- --yes" */
  line: string;
}

/** Where answers come from and questions go; a terminal, or nobody can be asked. */
export interface Terminal {
  input: NodeJS.ReadStream;
  output: NodeJS.WriteStream;
}

/**
 * Asks before something is done that can't be undone.
 *
 * @throws UserError where the answer is not yes, the question is left by Ctrl+C or the end of the input, or nobody can be
 *   asked and it is strict; nothing was changed then
 */
export async function askConsent(
  { question, yes, strict, line }: Consent,
  { input, output }: Terminal = { input: process.stdin, output: process.stderr },
): Promise<void> {
  if (yes) return;
  if (!input.isTTY || !output.isTTY) {
    if (!strict) return;
    throw new UserError(
      `${question} There is no terminal to ask on. Nothing was changed.\n  to confirm: ${line}`,
    );
  }
  const terminal = createInterface({ input, output });
  try {
    const left = new Promise<string>((resolve) => {
      terminal.once("SIGINT", () => resolve("")).once("close", () => resolve(""));
    });
    const answer = await Promise.race([terminal.question(`\n${question} [y/N] `), left]);
    if (!/^y(es)?$/i.test(answer.trim())) throw new UserError("Nothing was changed.");
  } finally {
    terminal.close();
  }
}
