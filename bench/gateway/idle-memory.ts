import { setTimeout as sleep } from "node:timers/promises";
import { GatewayProcess } from "../../test/harness/gateway";
import { alternate, type Line, ratioLine } from "./figures";
import { type Bundles, startBareFastify } from "./setup";

const ROUNDS = 3;
const IDLE_MS = 5_000;

/** Memory of the server that has nothing to do, against bare fastify, each started anew and asked once. */
export async function idleMemory(bundles: Bundles): Promise<Line[]> {
  const ours = async () => {
    const gateway = await GatewayProcess.start({ script: bundles.gateway });
    try {
      await sleep(IDLE_MS);
      return gateway.program.memoryMib();
    } finally {
      await gateway.remove();
    }
  };
  const theirs = async () => {
    const { program, port } = await startBareFastify(bundles);
    try {
      await fetch(`http://127.0.0.1:${port}/healthz`);
      await sleep(IDLE_MS);
      return program.memoryMib();
    } finally {
      await program.kill();
    }
  };
  const both = await alternate(ROUNDS, ours, theirs);
  return [ratioLine({ what: "idle memory", against: "bare fastify", unit: "MiB", ...both }, { atMost: 1.5 })];
}
