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
  /** What a refusal leaves. Default: "Nothing was changed." */
  left?: string;
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
 *   asked and it is strict; it says what is left then
 */
export async function askConsent(
  { question, yes, strict, line, left = "Nothing was changed." }: Consent,
  { input, output }: Terminal = { input: process.stdin, output: process.stderr },
): Promise<void> {
  if (yes) return;
  if (!input.isTTY || !output.isTTY) {
    if (!strict) return;
    throw new UserError(`${question} There is no terminal to ask on. ${left}\n  to confirm: ${line}`);
  }
  const terminal = createInterface({ input, output });
  try {
    const closed = new Promise<string>((resolve) => {
      terminal.once("SIGINT", () => resolve("")).once("close", () => resolve(""));
    });
    const answer = await Promise.race([terminal.question(`\n${question} [y/N] `), closed]);
    if (!/^y(es)?$/i.test(answer.trim())) throw new UserError(left);
  } finally {
    terminal.close();
  }
}

/** Called before something is repaired. @param repairs what has been said of them; throws where the user refuses */
export type Approve = (repairs: readonly string[]) => Promise<void>;

/**
 * What is to be repaired before a run can tell what it will do: an interrupted run, a stopped server. A stack in production
 * is asked about it, too.
 */
export class Repairs {
  private readonly done: string[] = [];

  /** @param consent about the repairs; without it nobody is asked */
  constructor(private readonly consent?: Omit<Consent, "strict" | "left">) {}

  readonly approve: Approve = async (repairs) => {
    if (this.consent) await askConsent({ ...this.consent, strict: true, left: this.left });
    this.done.push(...repairs);
  };

  /** What is left where the user refuses what comes next. */
  get left(): string {
    if (this.done.length === 0) return "The service was not changed.";
    return `Nothing else of the service was changed. Already done:\n${this.done.map((each) => `  - ${each}`).join("\n")}`;
  }
}
