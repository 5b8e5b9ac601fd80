import { mkdirSync, rmSync } from "node:fs";
import { request } from "node:http";
import { createServer, type Server, type Socket } from "node:net";
import { dirname } from "node:path";
import { agentSocketPath } from "../gateway";
import { Unanswered } from "../kept-alive";

/** Listens where msb's relays of the sandboxes would, and says back what it is told. */
export class FakeAgents {
  private readonly open = new Map<string, { server: Server; sockets: Set<Socket> }>();

  constructor(private readonly home: string) {}

  /** The agent of a sandbox, by its id. */
  async listen(id: string): Promise<void> {
    if (this.open.has(id)) return;
    const sockets = new Set<Socket>();
    const server = createServer((socket) => {
      sockets.add(socket);
      socket.on("close", () => sockets.delete(socket));
      socket.on("error", () => socket.destroy()).pipe(socket);
    });
    this.open.set(id, { server, sockets });
    const path = agentSocketPath(this.home, id);
    mkdirSync(dirname(path), { recursive: true });
    rmSync(path, { force: true });
    await new Promise<void>((resolve) => server.listen(path, resolve));
  }

  /** As when its microVM ends: every connection breaks. */
  end(id: string): void {
    const agent = this.open.get(id);
    this.open.delete(id);
    agent?.server.close();
    for (const socket of agent?.sockets ?? []) socket.destroy();
  }

  endAll(): void {
    for (const id of [...this.open.keys()]) this.end(id);
  }
}

/**
 * Opens the pipe to a sandbox's agent and breaks it after a while. Answers with the status; 101 for a pipe.
 * @throws Unanswered
 */
export function openPipe(port: number, key: string, id: string, openMs: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const asked = request({
      ...{ agent: false, host: "127.0.0.1", port, path: `/v1/sandboxes/${id}/agent` },
      headers: {
        ...{ authorization: `Bearer ${key}`, connection: "Upgrade", upgrade: "websocket" },
        ...{ "sec-websocket-version": "13", "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==" },
      },
    });
    asked.on("error", (error) => reject(new Unanswered(error.message)));
    asked.on("response", (answer) => {
      answer.resume();
      asked.destroy();
      resolve(answer.statusCode ?? 0);
    });
    asked.on("upgrade", (_answer, socket) => {
      socket.on("error", () => undefined);
      setTimeout(() => socket.resetAndDestroy(), openMs);
      resolve(101);
    });
    asked.end();
  });
}
