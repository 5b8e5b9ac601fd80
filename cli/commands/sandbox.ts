import { hostArgv } from "../../components/host/connection";
import { DEFAULT_HOST } from "../../components/settings/hosts";
import { exec } from "../../setup/exec";
import { createReporter, elapsed, type Reporter } from "../../setup/report";
import { inspectTools } from "../../setup/tools";
import { UserError } from "../../setup/user-error";
import { onCluster } from "../cluster";
import { readOutputs } from "../outputs";
import { type MsbRow, type Named, namePositions, namesOf, sandboxTable, withHandles } from "../sandbox-names";
import { whyDown } from "../server-down";
import { readServers, type Server, type StackServer } from "../servers";
import { openStack } from "../stack";
import { isPlainVolumeList, volumePositions, volumeTable, withVolumeHandles } from "../volume-names";

/** How long a command may take before it says what it waits for. */
const SLOW_MS = 5_000;

/** A server and its stack. */
export type DeployedServer = Server & { stack: string };

/** Selects a server; default: the current stack, and its only host. */
export interface ServerSelection {
  stack?: string;
  host?: string;
}

/**
 * `npm run sandbox -- ARGS`: the msb CLI inside the running server, with a terminal where there is one. Sandboxes and
 * volumes may be called by their clients' names and by their ids; `ls` and `volume ls` show both.
 */
export async function sandbox(args: string[]): Promise<void> {
  const began = Date.now();
  const report = createReporter();
  const [asked, words] = takeOptions(args);
  const isHelp = ["--help", "-h", "help", undefined].includes(words[0]);
  if (isHelp) console.log(HELP);
  // No tools are installed for it.
  if (isHelp && !(await inspectTools()).every(({ present }) => present)) return console.log(NOT_DEPLOYED);
  const server = await deployedServer(asked, report).catch((error: unknown) => {
    if (isHelp && error instanceof UserError) return undefined;
    throw error;
  });
  if (server === undefined) return console.log(NOT_DEPLOYED);
  const spoken = await inNames(server, words, report);
  if (typeof spoken === "string") return console.log(spoken);
  const terminal = process.stdin.isTTY && process.stdout.isTTY;
  const flags = ["--interactive", ...(terminal ? ["--tty"] : [])];
  const command = ["docker", "exec", ...flags, server.container, "msb", ...spoken];
  const [program = "docker", ...rest] = hostArgv(server.connection, command, terminal ? ["-t"] : []);
  const run = () => exec(program, rest, { stdio: "inherit", reject: false });
  const what = `msb ${commandWords(words).join(" ")}, in the server`;
  if (!isAnswer(words) && Date.now() - began >= SLOW_MS) report.say(`  … ${elapsed(began)}: ${what}`);
  const { exitCode } = await (isAnswer(words) ? report.wait(what, run) : run());
  const down = exitCode === 0 ? undefined : await whyDown(server, report);
  if (down) throw down;
  process.exitCode = exitCode ?? 1;
}

const HELP = `Usage: npm run sandbox -- [--stack NAME] [--host NAME] COMMAND

Runs msb, the command line of microsandbox, in the running server. Sandboxes and volumes may be called by their
clients' names and by their ids. The commands that are needed first:

  run IMAGE -- COMMAND   run a command in a new sandbox, like: run starter -- echo hello
  ls                     list the sandboxes with their owners and ids
  exec NAME -- COMMAND   run a command in a sandbox, like: exec NAME -- sh
  logs NAME              print what a sandbox has written
  stop NAME, start NAME  stop a sandbox, and start it again with its disk
  rm NAME                remove a sandbox that is stopped
  volume ls              list the volumes
`;
const NOT_DEPLOYED = "The help of msb itself is in the server. To deploy it: npm run up";

/** Groups of msb's commands, whose own command is the next word. */
const GROUPS = ["sandbox", "sbx", "image", "volume", "snapshot"];
const ANSWERS = ["ls", "list", "ps", "status", "inspect", "metrics", "logs"];

/** The words that say what msb does, without names. @example ["volume", "ls"] */
const commandWords = (words: readonly string[]) => words.slice(0, GROUPS.includes(words[0] ?? "") ? 2 : 1);

/**
 * Whether msb prints an answer and ends: a line of progress may come before it. What others print may be that of a program,
 * or on a terminal that is used.
 */
export const isAnswer = (words: readonly string[]): boolean =>
  ANSWERS.includes(commandWords(words).at(-1) ?? "") &&
  !words.some((word) => ["-f", "--follow", "-w", "--watch"].includes(word));

/** The requested list with clients' names, or the arguments for msb with msb's names. */
export async function inNames(server: Server, words: string[], report: Reporter): Promise<string | string[]> {
  const isOfVolumes = words[0] === "volume";
  const isList = isOfVolumes ? isPlainVolumeList(words) : isPlainList(words);
  const positions = isOfVolumes ? volumePositions(words) : namePositions(words);
  if (!isList && positions.length === 0) return words;
  const list = isOfVolumes ? ["volume", "ls"] : ["ls"];
  const ask = () => knownTo(server, isList ? words : list, isOfVolumes ? "volume-names" : "names");
  const known = await report.wait(`asking the server for its ${isOfVolumes ? "volumes" : "sandboxes"}`, ask);
  if (!known) return words;
  const { rows, named } = known;
  if (isList) return isOfVolumes ? volumeTable(rows, named) : sandboxTable(rows, named);
  return isOfVolumes ? withVolumeHandles(words, named) : withHandles(words, named);
}

/** Whether the arguments request a list of sandboxes without a machine-readable format. */
export function isPlainList([command = "", ...options]: readonly string[]): boolean {
  const others = options.some((word) => !["--running", "--stopped"].includes(word));
  return ["ls", "list"].includes(command) && !others;
}

/** What msb has, with clients' names; undefined if the server can't be asked: the arguments then go to msb unchanged. */
async function knownTo(server: Server, list: string[], command: "names" | "volume-names") {
  const [rows, names] = await Promise.all([
    output(server, ["msb", ...list, "--format", "json"]),
    output(server, ["node", "/opt/gateway/server.cjs", command]),
  ]);
  if (rows === undefined) return undefined;
  const parsed: MsbRow[] = JSON.parse(rows);
  // An older server has no such command, and msb's names are its clients'.
  const records = (names ?? "")
    .split("\n")
    .filter(Boolean)
    .map((line): Named => JSON.parse(line));
  return { rows: parsed, named: namesOf(parsed, records) };
}

/** What a command in the server prints; undefined where it fails. */
async function output({ connection, container }: Server, words: string[]): Promise<string | undefined> {
  const [program = "docker", ...rest] = hostArgv(connection, ["docker", "exec", container, ...words]);
  const { exitCode, stdout } = await exec(program, rest, { stdin: "ignore", reject: false });
  return exitCode === 0 ? String(stdout) : undefined;
}

/** The selected server. @throws UserError where there is none, or one of several hosts has to be named */
export async function deployedServer(asked: ServerSelection, report: Reporter): Promise<DeployedServer> {
  const { stack, pulumi } = await openStack(asked.stack, report);
  const servers = await readServers(stack, pulumi);
  const { namespace } = servers.length === 0 ? await readOutputs(stack, pulumi) : {};
  if (namespace !== undefined) throw onCluster(stack, namespace);
  return { stack, ...chooseServer(stack, asked.host, servers) };
}

/** `--stack NAME` and `--host NAME` in front of msb's own words. */
export function takeOptions(args: string[]): [ServerSelection, string[]] {
  const asked: ServerSelection = {};
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
export function chooseServer(
  stack: string,
  host: string | undefined,
  servers: readonly StackServer[],
): StackServer {
  const [first, ...others] = servers;
  const deploy = `To deploy it: npm run up -- --stack ${stack}`;
  if (first === undefined) throw new UserError(`No server is deployed in stack ${stack}. ${deploy}`);
  const names = servers.map((each) => each.host).join(", ");
  if (host === undefined) {
    if (others.length === 0) return first;
    throw new UserError(`Stack ${stack} has several hosts: ${names}. Choose one: --host ${first.host}`);
  }
  const named = servers.find((each) => each.host === host);
  if (named) return named;
  if (others.length === 0 && first.host === DEFAULT_HOST)
    throw new UserError(
      `Stack ${stack} has one server: leave --host ${host} out, or deploy that host: npm run up -- --stack ${stack}`,
    );
  throw new UserError(
    `Stack ${stack} has no server on the host ${host}; it has one on each of these: ${names}. ${deploy}`,
  );
}
