import { hostArgv } from "../../components/connection";
import { exec } from "../exec";
import { readOutputs, type Server, type StackOutputs } from "../outputs";
import { pulumiWith } from "../pulumi";
import { createReporter } from "../report";
import { currentStack } from "../stack";
import { ensureTools } from "../tools";
import { UserError } from "../user-error";

/** A server, and the stack that it is of. */
export type DeployedServer = Server & { stack: string };

/** Which server is meant: of the current stack and its only host, where nothing is said. */
export interface Asked {
  stack?: string;
  host?: string;
}

/** `npm run sandbox -- ARGS`: the msb CLI inside the running server, with a terminal where there is one. */
export async function sandbox(args: string[]): Promise<void> {
  const [asked, words] = takeOptions(args);
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

/** The server that is asked for. @throws UserError where there is none, or one of several hosts has to be named */
export async function deployedServer(asked: Asked): Promise<DeployedServer> {
  const report = createReporter();
  const pulumi = pulumiWith(await ensureTools(report));
  const stack = await currentStack(asked.stack, pulumi, report);
  return { stack, ...chooseServer(stack, asked.host, await readOutputs(stack, pulumi)) };
}

/** `--stack NAME` and `--host NAME` in front of msb's own words. */
export function takeOptions(args: string[]): [Asked, string[]] {
  const asked: Asked = {};
  let words = args;
  for (;;) {
    const [, name, joined] = /^--(stack|host)(?:=(.+))?$/s.exec(words[0] ?? "") ?? [];
    const value = joined ?? words[1];
    if (!name || !value) return [asked, words];
    asked[name === "stack" ? "stack" : "host"] = value;
    words = words.slice(joined === undefined ? 2 : 1);
  }
}

/** @throws UserError where the server is not deployed, or one of several hosts has to be named */
export function chooseServer(stack: string, host: string | undefined, outputs: StackOutputs): Server {
  const { server, hosts } = outputs;
  const deploy = `To deploy it: npm run up -- --stack ${stack}`;
  if (!server && !hosts) throw new UserError(`No server is deployed in stack ${stack}. ${deploy}`);
  const names = Object.keys(hosts ?? {});
  if (host === undefined) {
    if (server) return server;
    throw new UserError(
      `Stack ${stack} has several hosts: ${names.join(", ")}. Say which one: --host ${names[0] ?? "NAME"}`,
    );
  }
  const named = hosts?.[host]?.server;
  if (named) return named;
  if (!hosts) throw new UserError(`Stack ${stack} has one host: leave --host ${host} out.`);
  throw new UserError(
    `The host ${host} of stack ${stack} was not there after the last \`up\`; these were: ${names.join(", ")}. ${deploy}`,
  );
}
