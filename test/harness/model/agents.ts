import { mkdirSync, rmSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { dirname } from "node:path";
import { agentSocketPath } from "../gateway";

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
