/** Commands of the npm script that work on a stack, those of `keys` with their verb: options come after it. */
const SCRIPT =
  /(?<![`\w])npm run (?:(?:up|destroy|setup|doctor|import|sandbox|backup|restore|images|sbom)(?: --(?= ))?|keys -- (?:add|list|revoke|rotate))(?![\w-])/g;

/** Commands of Pulumi that work on a stack. */
const PULUMI = /(?<![`\w-])(?:npm run (?:--silent )?pulumi --|pulumi) (?:config|stack output)(?![\w-])/g;

/** Only where it is to be typed: else it is the name of what has failed. */
const UP = /(?<=(?:[Tt]hen: |&& ))pulumi up(?![\w-])/g;

/**
 * Names the stack in the lines to type of a message: by the time that one is typed, another may be selected. A command
 * between backticks is only spoken of, and stays as it is; so does one that names a stack.
 *
 * @example withStack("Then: npm run up", "prod") === "Then: npm run up -- --stack prod"
 */
export function withStack(text: string, stack: string | undefined): string {
  if (!stack) return text;
  const named = (option: string) => (command: string, at: number, all: string) => {
    const [rest = ""] = all.slice(at + command.length).split(/&&|\n|;| then /, 1);
    return /(?:^|\s)(?:--stack|-s)\b/.test(rest) ? command : `${command} ${option}`;
  };
  const option = `--stack ${stack}`;
  return text
    .replaceAll(SCRIPT, (command, at: number, all: string) =>
      named(/ --(?: |$)/.test(command) ? option : `-- ${option}`)(command, at, all),
    )
    .replaceAll(UP, (command, at: number, all: string) => named(option)(command, at, all))
    .replaceAll(PULUMI, (command, at: number, all: string) => named(option)(command, at, all));
}

/** The stack of a program that runs under Pulumi; undefined anywhere else. Not by its SDK: the npm script would load it. */
export const programStack = (): string | undefined => process.env.PULUMI_NODEJS_STACK;
