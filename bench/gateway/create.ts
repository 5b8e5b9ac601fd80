import { type Connection, shellQuote, sshArgv } from "../../components/connection";
import { exec } from "../../toolchain/exec";
import { pulumiWith } from "../../toolchain/pulumi";
import type { Reporter } from "../../toolchain/report";
import { ensureTools } from "../../toolchain/tools";
import { UserError } from "../../toolchain/user-error";
import { alternate, type Line, ratioLine, type Skipped } from "./figures";

const ROUNDS = 5;
/** A microVM on an emulated host takes ten seconds to boot, and as many to stop. */
const TIMEOUT_SECONDS = 180;

/**
 * Runs inside the server's container, so that both ways start from the same place: `msb run` of a new sandbox, the
 * seconds until the first byte of its output. The rest (stop, removal) happens before the next round.
 */
const MEASURE = `
const { spawn } = require("node:child_process");
const began = process.hrtime.bigint();
const run = spawn("msb", ["run", "starter", "--", "echo", "first"], { stdio: ["ignore", "pipe", "pipe"] });
let seconds, said = "";
run.stdout.on("data", (data) => {
  seconds ??= Number(process.hrtime.bigint() - began) / 1e9;
  said += data;
});
run.stderr.on("data", (data) => { said += data; });
run.on("close", (code) => {
  if (code === 0 && /^first$/m.test(said)) console.log(seconds);
  else { console.error(said); process.exit(1); }
});`;

/** From the command line to the first output of `echo`, through the gateway and with msb's local backend. */
export async function createToOutput(stack: string | undefined, report: Reporter): Promise<Line[] | Skipped> {
  const what = "create → first output of echo";
  if (!stack) return { what, reason: "needs a deployed stack: npm run bench -- gateway --stack NAME" };
  const server = await serverOf(stack, report);
  const key = server.apiKey || "msb_dev";
  const cloud = { MSB_BACKEND: "cloud", MSB_API_URL: "http://127.0.0.1:5555", MSB_API_KEY: key };
  const both = await alternate(
    ROUNDS,
    () => seconds(server, cloud),
    () => seconds(server, {}),
  );
  const against = "msb run in the same container";
  return [ratioLine({ what, against, unit: "s", ...both }, { atMost: 1.15 })];
}

type DeployedServer = { container: string; connection: Connection; apiKey: string };

async function serverOf(stack: string, report: Reporter): Promise<DeployedServer> {
  const pulumi = pulumiWith(await ensureTools(report));
  const outputs = await pulumi
    .read(["stack", "output", "--json", "--show-secrets", "--stack", stack])
    .catch(() => "{}");
  const { server, apiKey } = JSON.parse(outputs);
  if (!server)
    throw new UserError(
      `No server is deployed in stack ${stack}. To deploy it: npm run up -- --stack ${stack}`,
    );
  return { ...server, apiKey };
}

async function seconds({ container, connection }: DeployedServer, variables: object): Promise<number> {
  // By standard input, so that no key shows in a process list.
  const set = `Object.assign(process.env, ${JSON.stringify(variables)});`;
  const command = ["docker", "exec", "--interactive", container, "node", "-"];
  const ssh = sshArgv(connection);
  const [program = "docker", ...rest] = ssh.length > 0 ? [...ssh, ...command.map(shellQuote)] : command;
  const options = { input: set + MEASURE, reject: false, timeout: TIMEOUT_SECONDS * 1000 } as const;
  const { exitCode, stdout, stderr } = await exec(program, rest, options);
  if (exitCode !== 0) throw new UserError(`msb run in the server's container failed:\n${stderr}`);
  return Number(stdout);
}
