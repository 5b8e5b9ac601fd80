import { RemoteBackend } from "../../../docker/gateway/src/backends/remote/client";
import { type BackendServer, serveBackend } from "../../../docker/gateway/src/backends/remote/serve";
import type { Backend } from "../../../docker/gateway/src/sandboxes/backend";
import { atFileEnd } from "../../harness/file-end";
import type { World, WorldOptions } from "./backend-contract/world";
import { MsbWorld } from "./msb-world";

/** A world whose backend is another gateway's, in the same process. */
export class RemoteWorld implements World {
  backend!: Backend;
  server!: BackendServer;
  readonly boots: World["boots"];
  readonly captures: World["captures"];
  readonly pauses: World["pauses"];
  readonly agent: World["agent"];
  readonly kill: World["kill"];
  readonly say: World["say"];

  private constructor(readonly behind: MsbWorld) {
    this.boots = (how) => behind.boots(how);
    this.captures = (how) => behind.captures(how);
    this.pauses = (how) => behind.pauses(how);
    this.agent = (id) => behind.agent(id);
    this.kill = (id) => behind.kill(id);
    this.say = (id, source, text) => behind.say(id, source, text);
  }

  static async make(options?: WorldOptions): Promise<RemoteWorld> {
    const world = new RemoteWorld(await MsbWorld.make(options));
    await world.serve();
    atFileEnd(() => world.close());
    return world;
  }

  private async serve(): Promise<void> {
    const { backend } = this.behind;
    this.server = await serveBackend(backend, { log: { error: (...what) => console.error(...what) } });
    const remote = new RemoteBackend({ name: "server 1", url: `http://127.0.0.1:${this.server.port}` });
    // A server is drained by itself, not by those that use it.
    this.backend = Object.assign(remote, { drain: (deadline: number) => backend.drain(deadline) });
  }

  async restart(how: "drained" | "crashed"): Promise<void> {
    await this.behind.restart(how);
    await this.close();
    await this.serve();
  }

  async close(): Promise<void> {
    await Promise.all([this.backend.close(), this.server.close()]);
  }
}
