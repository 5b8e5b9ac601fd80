import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { ensurePackages } from "../../setup/engine/apt";
import { createReporter } from "../../setup/report";
import {
  agentSocketPath,
  bundle,
  bundleGateway,
  GatewayProcess,
  NodeProgram,
  newHome,
} from "../../test/harness/gateway";
import { freePort } from "../../test/harness/stack";

/** The bundles that are measured, in a folder of their own. */
export type Bundles = { folder: string; gateway: string; agent: string; bareFastify: string };

export async function makeBundles(): Promise<Bundles> {
  const folder = mkdtempSync(join(tmpdir(), "bench-"));
  const [gateway, agent, bareFastify] = ["gateway.cjs", "agent.cjs", "bare-fastify.cjs"].map((name) =>
    join(folder, name),
  ) as [string, string, string];
  await bundleGateway(gateway);
  await bundle(join(__dirname, "programs/agent.ts"), agent);
  await bundle(join(__dirname, "programs/bare-fastify.mjs"), bareFastify);
  return { folder, gateway, agent, bareFastify };
}

/** A gateway with running sandboxes whose agents are the fake one. */
export type Rig = {
  gateway: GatewayProcess;
  sandboxes: { id: string; socketPath: string }[];
  stop: () => Promise<void>;
};

/** @param env of the gateway, beside what it has anyway */
export async function startRig(
  bundles: Bundles,
  sandboxes: number,
  env: Record<string, string> = {},
): Promise<Rig> {
  const home = newHome();
  const gateway = await GatewayProcess.start({ script: bundles.gateway, home, env });
  const made = [];
  for (let number = 0; number < sandboxes; number++) {
    const name = `bench-${number}`;
    const { id } = await gateway.create(name);
    const socketPath = agentSocketPath(home, id);
    mkdirSync(dirname(socketPath), { recursive: true });
    made.push({ id, socketPath });
  }
  const agent = NodeProgram.launch({
    script: bundles.agent,
    arguments: made.map((each) => each.socketPath),
  });
  await new Promise((resolve, reject) => {
    agent.child.once("message", resolve);
    agent.ended.then((how) => reject(new Error(`the fake agent ended: ${how}`)));
  });
  const stop = async () => {
    await Promise.all([gateway.remove(), agent.kill()]);
  };
  return { gateway, sandboxes: made, stop };
}

/** socat between a TCP port and a unix socket: its port, and how to end it. It moves 8 KiB at a time by default. */
export async function startSocat(
  socketPath: string,
  blockBytes = 8192,
): Promise<{ port: number; stop: () => void }> {
  await ensurePackages(createReporter(), ["socat"], "the comparison with socat");
  const port = await freePort();
  const listen = `TCP-LISTEN:${port},bind=127.0.0.1,fork,reuseaddr,backlog=64`;
  // A group of its own: it forks a process per connection.
  const socat = spawn("socat", ["-b", String(blockBytes), listen, `UNIX-CONNECT:${socketPath}`], {
    stdio: "ignore",
    detached: true,
  });
  const stop = () => {
    try {
      if (socat.pid) process.kill(-socat.pid, "SIGKILL");
    } catch {
      // It has ended already.
    }
  };
  process.once("exit", stop);
  while (!(await listens(port))) await sleep(20);
  return { port, stop };
}

const listens = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect({ host: "127.0.0.1", port });
    socket.once("connect", () => resolve(true)).once("error", () => resolve(false));
    socket.once("connect", () => socket.destroy());
  });

/** The comparison's own server, which sends the bytes of a file. */
export async function startBareFastify(
  bundles: Bundles,
  body?: string,
): Promise<{ program: NodeProgram; port: number }> {
  const port = await freePort();
  const env = { PORT: String(port), ...(body && { BODY: body }) };
  const program = NodeProgram.launch({ script: bundles.bareFastify, env });
  while (!(await listens(port))) await sleep(20);
  return { program, port };
}

export const removeBundles = ({ folder }: Bundles): void => rmSync(folder, { recursive: true, force: true });
