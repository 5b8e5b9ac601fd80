/** Commands of the npm script that work on a stack, those of `keys` with their verb: options come after it. */
const SCRIPT =
  /(?<![`\w])npm run (?:(?:up|destroy|setup|doctor|import|sandbox|backup|restore|images|sbom)(?: --(?= ))?|keys -- (?:add|list|revoke|rotate))(?![\w-])/g;

/** Commands of Pulumi that work on a stack. */
const PULUMI =
  /(?<![`\w-])(?:npm run (?:--silent )?pulumi --|pulumi) (?:config|stack output|up(?= --replace))(?![\w-])/g;

/** Only where it is to be typed: else it is the name of what has failed. The npm script does not take `--replace`. */
const UP = /(?<=(?:: +|&& ))pulumi (?:up|destroy)(?![\w-])(?! failed|[^\n&;]* --replace)/g;

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

/** Commands of Pulumi to type; not where the text says that one has failed, or only speaks of it. */
const PLAIN =
  /(?<![`\w-])pulumi (?=(?:config|stack|cancel|refresh|preview|up(?=[^\n&;]* --replace))(?![\w-])(?! failed))/g;

/** Those that Pulumi itself puts between backticks in what it prints at the end. */
const QUOTED = /(?<=`)pulumi (?=(?:stack rm|stack init|cancel|refresh|config)(?![\w-]))/g;

/**
 * The lines to type of a message for whoever works with the npm scripts and may have no `pulumi` on the PATH.
 *
 * @example asNpmScripts("fix: pulumi config rm microsandbox:x && pulumi up") ===
 *   "fix: npm run pulumi -- config rm microsandbox:x && npm run up"
 */
export const asNpmScripts = (text: string): string =>
  text
    .replaceAll(UP, (line, at: number, all: string) => {
      const script = line.replace("pulumi", "npm run");
      // npm keeps options for itself that come before `--`.
      return all.startsWith(" -", at + line.length) ? `${script} --` : script;
    })
    .replaceAll(PLAIN, (_word, at: number, all: string) => {
      // Its output goes to another program, or into a file.
      const isRead = all.slice(0, at).endsWith("$(") || all.startsWith("pulumi config get ", at);
      return isRead ? "npm run --silent pulumi -- " : "npm run pulumi -- ";
    });

/** What Pulumi prints under the npm scripts: its own advice too is to be typed as one. */
export const pulumiOutput = (text: string): string =>
  asNpmScripts(text).replaceAll(QUOTED, "npm run pulumi -- ");

/** The stack of a program that runs under Pulumi; undefined anywhere else. Not by its SDK: the npm script would load it. */
export const programStack = (): string | undefined => process.env.PULUMI_NODEJS_STACK;

/** Lines that set or remove a setting of a stack: what goes before it, the verb, the setting and its value. */
const CONFIG =
  /(?:openssl rand -hex 32 \| )?pulumi config(?: --stack \S+)? (set|rm)(?: --(?:secret|path))* microsandbox:([\w.]+)((?: "\$\([^)]*\)")|(?: \$\(\w+\))|(?: (?![<&(]|--)[^\s)'"]+))?(?: < [^\s"']+)?(?: --stack [^\s)"']+)?( && (?=pulumi up))?/g;

/**
 * A message for a program whose settings are arguments: it reads no configuration, so that a line which sets one would
 * change nothing.
 *
 * @example asArguments("fix: pulumi config set microsandbox:port 5556") === "fix: the argument port: 5556"
 */
export function asArguments(text: string): string {
  return text.replaceAll(CONFIG, (_line, verb: string, key: string, given = "", then = "") => {
    const value = /^ (?!"\$|[A-Z]+$)/.test(given) ? `:${given}` : "";
    const words = verb === "rm" ? `no argument ${key}` : `the argument ${key}${value}`;
    return then ? `${words}, then: ` : words;
  });
}

let source: "configuration" | "arguments" | undefined;

/**
 * Tells where this program's settings are. What is told first counts: the stack's own program passes its configuration
 * as arguments. Undefined forgets it.
 */
export function settingsAreIn(place: "configuration" | "arguments" | undefined): void {
  source = place && (source ?? place);
}

/** A message as the program's user can follow it: lines to type name the stack, and what sets nothing is no line. */
export const forProgram = (text: string): string =>
  withStack(source === "arguments" ? asArguments(text) : text, programStack());
