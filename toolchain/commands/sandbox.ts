import { type Connection, hostArgv } from "../../components/connection";
import { exec } from "../exec";
import { type Pulumi, pulumiWith } from "../pulumi";
import { createReporter } from "../report";
import { currentStack } from "../stack";
import { ensureTools } from "../tools";
import { UserError } from "../user-error";

interface Server {
  container: string;
  connection: Connection;
}

/** `npm run sandbox -- ARGS`: the msb CLI inside the running server, with a terminal where there is one. */
export async function sandbox(args: string[]): Promise<void> {
  const [asked, words] = takeStackOption(args);
  const { connection, container } = await deployedServer(asked);
  const terminal = process.stdin.isTTY && process.stdout.isTTY;
  const command = [
    "docker",
    "exec",
    "--interactive",
    ...(terminal ? ["--tty"] : []),
    container,
    "msb",
    ...words,
  ];
  const [program = "docker", ...rest] = hostArgv(connection, command, terminal ? ["-t"] : []);
  const { exitCode } = await exec(program, rest, { stdio: "inherit", reject: false });
  process.exitCode = exitCode ?? 1;
}

/** The server of the stack that is asked for, or else of the current one. */
export async function deployedServer(asked?: string): Promise<Server> {
  const report = createReporter();
  const pulumi = pulumiWith(await ensureTools(report));
  return serverOf(await currentStack(asked, pulumi, report), pulumi);
}

/** `--stack NAME` in front of msb's own words. */
export function takeStackOption(args: string[]): [string | undefined, string[]] {
  const [first, second, ...rest] = args;
  if (first === "--stack" && second) return [second, rest];
  if (first?.startsWith("--stack=")) return [first.slice("--stack=".length), args.slice(1)];
  return [undefined, args];
}

async function serverOf(stack: string, pulumi: Pulumi): Promise<Server> {
  const outputs = await pulumi
    .read(["stack", "output", "server", "--json", "--stack", stack])
    .catch(() => undefined);
  if (!outputs) {
    throw new UserError(
      `No server is deployed in stack ${stack}. To deploy it: npm run up -- --stack ${stack}`,
    );
  }
  return JSON.parse(outputs);
}
