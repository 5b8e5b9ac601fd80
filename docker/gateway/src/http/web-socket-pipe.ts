import { createHash } from "node:crypto";
import { connect, type Socket } from "node:net";
import { join } from "node:path";
import type { WebSocket } from "ws";
import { ServiceError } from "../errors";

/** Bytes on their way to a client that does not read, at which the guest is stopped. */
const HIGH_WATER = 256 * 1024;
const PING_MS = 30_000;

/** Where msb's relay of a sandbox listens. */
export function agentSocketPath(home: string, name: string): string {
  const hash = createHash("sha256").update(name).digest("hex").slice(0, 24);
  return join(home, "run", "sandboxes", hash, "agent.sock");
}

/** Connects to a sandbox's relay. @throws ServiceError 409 if nothing listens there */
export function connectAgent(path: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ path, allowHalfOpen: true });
    socket.once("connect", () => {
      // Until the pipe listens too, a break must not be an error that nobody handles.
      socket.on("error", () => undefined);
      resolve(socket);
    });
    socket.once("error", () => reject(new ServiceError("conflict", "the sandbox is not running")));
  });
}

/** Seconds that a client gets to take the news that it is cut off. */
const FAREWELL_MS = 2_000;

/** Ends a pipe whose key is no more: nothing reaches the sandbox from here on, whatever the client does. */
export function cutOff(client: WebSocket, agent: Socket): void {
  agent.destroy();
  client.close(1008, "the API key is no longer valid");
  setTimeout(() => client.terminate(), FAREWELL_MS).unref();
}

export type PipeCounters = { fromClient: (bytes: number) => void; toClient: (bytes: number) => void };

/**
 * Joins one WebSocket and one connection to a sandbox's relay: bytes go both ways, unparsed.
 * Whichever side does not take what it is sent stops the other; nothing piles up here.
 */
export function pipe(client: WebSocket, agent: Socket, counters: PipeCounters): Promise<void> {
  return new Promise((done) => {
    let heard = true;
    let paused = false;

    client.on("message", (data: Buffer, isBinary: boolean) => {
      heard = true;
      if (!isBinary) return;
      counters.fromClient(data.length);
      if (agent.writable && !agent.write(data)) {
        paused = true;
        client.pause();
      }
    });
    agent.on("drain", () => {
      paused = false;
      heard = true;
      client.resume();
    });

    agent.on("data", (chunk: Buffer) => {
      counters.toClient(chunk.length);
      if (client.readyState !== client.OPEN) return;
      client.send(chunk, { binary: true }, () => {
        if (client.bufferedAmount < HIGH_WATER / 2) agent.resume();
      });
      if (client.bufferedAmount >= HIGH_WATER) agent.pause();
    });

    // The relay's end of data ends the WebSocket: that protocol has no half-open state.
    agent.on("end", () => client.close(1000));
    agent.on("error", () => client.close(1011, "the sandbox's connection broke"));
    agent.on("close", () => client.close(1000));
    client.on("error", () => client.terminate());
    client.on("pong", () => {
      heard = true;
    });

    const keepalive = setInterval(() => {
      // A client whose data we don't read can't be heard either.
      if (!heard && !paused) client.terminate();
      heard = false;
      if (client.readyState === client.OPEN) client.ping();
    }, PING_MS);
    client.on("close", () => {
      clearInterval(keepalive);
      agent.end();
      // What it still has to say has no reader.
      agent.destroySoon();
      done();
    });
  });
}
