import { type Connection, shellQuote, sshArgv } from "../../components/connection";
import { exec } from "../exec";
import { pulumiWith } from "../pulumi";
import { createReporter } from "../report";
import { chooseStack } from "../stack";
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
  const ssh = sshArgv(connection);
  const terminal = process.stdin.isTTY && process.stdout.isTTY;
  const [program = "docker", ...prefix] = ssh.length > 0 ? [...ssh, "docker"] : ["docker"];
  if (terminal && ssh.length > 0) prefix.unshift("-t");
  const flags = ["exec", "--interactive", ...(terminal ? ["--tty"] : [])];
  const command = [...flags, container, "msb", ...words];
  // ssh joins its words with spaces and hands them to a shell: quote each one for it.
  const quoted = ssh.length > 0 ? command.map(shellQuote) : command;
  const { exitCode } = await exec(program, [...prefix, ...quoted], { stdio: "inherit", reject: false });
  process.exitCode = exitCode ?? 1;
}

/** The server of a stack: the one asked for, the selected one, or the one that fits this machine. */
export async function deployedServer(asked?: string): Promise<Server> {
  const report = createReporter();
  const pulumi = pulumiWith(await ensureTools(report));
  const stack = asked ?? (await selectedStack(pulumi.read)) ?? (await chooseStack(undefined, report));
  return serverOf(stack, pulumi.read);
}

/** `--stack NAME` in front of msb's own words. */
export function takeStackOption(args: string[]): [string | undefined, string[]] {
  const [first, second, ...rest] = args;
  if (first === "--stack" && second) return [second, rest];
  if (first?.startsWith("--stack=")) return [first.slice("--stack=".length), args.slice(1)];
  return [undefined, args];
}

async function selectedStack(read: (args: string[]) => Promise<string>): Promise<string | undefined> {
  return read(["stack", "--show-name"]).catch(() => undefined);
}

async function serverOf(stack: string, read: (args: string[]) => Promise<string>): Promise<Server> {
  const outputs = await read(["stack", "output", "server", "--json", "--stack", stack]).catch(
    () => undefined,
  );
  if (!outputs) {
    throw new UserError(
      `No server is deployed in stack ${stack}. To deploy it: npm run up -- --stack ${stack}`,
    );
  }
  return JSON.parse(outputs);
}
