import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { localEngine } from "../../components/host/local-engine";

/** A way to this machine's engine, by a socket of its own, on which a request can be held up. */
export class EngineProxy {
  private readonly folder = mkdtempSync(join(tmpdir(), "microsandbox-engine-"));
  private readonly sockets = new Set<Socket>();
  private readonly server = createServer({ allowHalfOpen: true }, (client) => this.serve(client));
  private held?: { request: RegExp; reached: (goOn: () => void) => void };
  /** First lines of the requests. */
  readonly requests: string[] = [];
  readonly url = `unix://${join(this.folder, "engine.sock")}`;

  async start(): Promise<void> {
    this.server.listen(join(this.folder, "engine.sock"));
    await once(this.server, "listening");
  }

  /**
   * Holds up the next request like this one.
   *
   * @returns what lets it go on, as soon as it has come
   */
  hold(request: RegExp): Promise<() => void> {
    return new Promise((reached) => {
      this.held = { request, reached };
    });
  }

  async stop(): Promise<void> {
    this.server.close();
    for (const socket of this.sockets) socket.destroy();
    rmSync(this.folder, { recursive: true, force: true });
  }

  private serve(client: Socket): void {
    const engine = connect({ path: localEngine().replace("unix://", ""), allowHalfOpen: true });
    for (const socket of [client, engine]) {
      this.sockets.add(socket);
      socket.on("error", () => [client, engine].map((each) => each.destroy()));
      socket.once("close", () => this.sockets.delete(socket));
    }
    engine.pipe(client);
    client.once("end", () => engine.end());
    client.on("data", (chunk: Buffer) => {
      const [line = ""] = chunk.subarray(0, 4096).toString("latin1").split("\r\n", 1);
      if (/^[A-Z]+ \/.* HTTP\/1\.1$/.test(line)) this.requests.push(line);
      if (!this.held?.request.test(line)) return void engine.write(chunk);
      client.pause();
      this.held.reached(() => {
        engine.write(chunk);
        client.resume();
      });
      this.held = undefined;
    });
  }
}
