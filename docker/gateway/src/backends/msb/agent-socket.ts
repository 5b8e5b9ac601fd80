import { createHash } from "node:crypto";
import { connect } from "node:net";
import { join } from "node:path";
import type { Duplex } from "node:stream";
import { ServiceError } from "../../errors";

/** Where msb's process of a sandbox listens: twelve bytes of the hash of msb's name for it. */
function socketPath(home: string, handle: string, name: string): string {
  const hash = createHash("sha256").update(handle).digest("hex").slice(0, 24);
  return join(home, "run", "sandboxes", hash, name);
}

/** The relay to the agent in the guest. */
export const agentSocketPath = (home: string, handle: string): string =>
  socketPath(home, handle, "agent.sock");

/** What the microVM itself is asked for, also while it is paused. */
export const controlSocketPath = (home: string, handle: string): string =>
  socketPath(home, handle, "control.sock");

/**
 * Connects to a sandbox's relay.
 * @param signal gives up the attempt; a connection that is made is the caller's
 * @throws ServiceError conflict if nothing listens there
 */
export function connectAgent(home: string, handle: string, signal: AbortSignal): Promise<Duplex> {
  return new Promise((resolve, reject) => {
    const socket = connect({ path: agentSocketPath(home, handle), allowHalfOpen: true });
    const giveUp = () => socket.destroy(new Error("given up"));
    signal.addEventListener("abort", giveUp);
    if (signal.aborted) giveUp();
    socket.once("connect", () => {
      signal.removeEventListener("abort", giveUp);
      resolve(socket);
    });
    // It stays: until somebody listens too, a break must not be an error that nobody handles.
    socket.on("error", () => {
      signal.removeEventListener("abort", giveUp);
      reject(new ServiceError("conflict", "the sandbox is not running"));
    });
  });
}
