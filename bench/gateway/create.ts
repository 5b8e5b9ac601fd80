import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { findBackend } from "../../cli/backend";
import { pulumiWith } from "../../cli/pulumi";
import { type Connection, hostArgv } from "../../components/host/connection";
import { exec } from "../../setup/exec";
import type { Reporter } from "../../setup/report";
import { ensureTools } from "../../setup/tools";
import { UserError } from "../../setup/user-error";
import { pythonClient } from "../../test/harness/clients";
import { inTurn, type Line, ratioLine, type Skipped } from "./figures";

const ROUNDS = 5;
/** So that what the round before left to be removed is removed. */
const PAUSE_MS = 3_000;
/** A microVM on an emulated host takes some seconds to boot, and as many to stop. */
const TIMEOUT_SECONDS = 180;
const CLIENT = "0.7.11";

/** `msb run` of a new sandbox: prints the seconds until the first byte of its output. It stops before the end. */
const MEASURE = `
const { spawn } = require("node:child_process");
const began = process.hrtime.bigint();
const words = ["run", "starter", "--", "echo", "first"];
const run = spawn(process.env.MSB || "msb", words, { stdio: ["ignore", "pipe", "pipe"] });
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

/**
 * From the command line to the first output of `echo`: the official client on this machine through the gateway, and
 * msb's local backend in the server's container. Told beside it: the client in the container too, where its own
 * start takes its time from the server's CPUs.
 */
export async function createToOutput(stack: string | undefined, report: Reporter): Promise<Line[] | Skipped> {
  const what = "create → first output of echo";
  if (!stack) return { what, reason: "needs a deployed stack: npm run bench -- --stack NAME" };
  const server = await serverOf(stack, report);
  const { msb } = await pythonClient(CLIENT);
  const home = mkdtempSync(join(tmpdir(), "bench-client-"));
  const cloud = { MSB_BACKEND: "cloud", MSB_API_KEY: server.apiKey || "msb_dev" };
  const outside = { ...cloud, MSB: msb, MSB_API_URL: server.endpoint, MSB_HOME: home, HOME: home };
  try {
    const [ours = [], inside = [], theirs = []] = await inTurn(ROUNDS, [
      () => seconds(["node", "-"], outside),
      () => seconds(inContainer(server), { ...cloud, MSB_API_URL: "http://127.0.0.1:5555" }),
      () => seconds(inContainer(server), {}),
    ]);
    const against = "msb run in the server's container";
    return [
      ratioLine({ what, against, unit: "s", ours, theirs }, { atMost: 1.15 }),
      ratioLine({ what: `${what}, client in the container too`, against, unit: "s", ours: inside, theirs }),
    ];
  } finally {
    rmSync(home, { recursive: true, force: true });
  }
}

type DeployedServer = { container: string; connection: Connection; endpoint: string; apiKey: string };

async function serverOf(stack: string, report: Reporter): Promise<DeployedServer> {
  const pulumi = pulumiWith(await ensureTools(report), findBackend(stack), report);
  const outputs = await pulumi
    .read(["stack", "output", "--json", "--show-secrets", "--stack", stack])
    .catch(() => "{}");
  const { server, endpoint, apiKey } = JSON.parse(outputs);
  if (!server)
    throw new UserError(
      `No server is deployed in stack ${stack}. To deploy it: npm run up -- --stack ${stack}`,
    );
  return { ...server, endpoint, apiKey };
}

function inContainer({ container, connection }: DeployedServer): string[] {
  const command = ["docker", "exec", "--interactive", container, "node", "-"];
  return hostArgv(connection, command);
}

async function seconds([program = "node", ...words]: string[], variables: object): Promise<number> {
  // By standard input, so that no key shows in a process list.
  const set = `Object.assign(process.env, ${JSON.stringify(variables)});`;
  const options = { input: set + MEASURE, reject: false, timeout: TIMEOUT_SECONDS * 1000 } as const;
  const { exitCode, stdout, stderr } = await exec(program, words, options);
  if (exitCode !== 0) throw new UserError(`msb run failed:\n${stderr}`);
  await sleep(PAUSE_MS);
  return Number(stdout);
}
