import { ServersBackend } from "../../../docker/gateway/src/backends/servers/backend";
import { MemoryNames } from "../../../docker/gateway/src/backends/servers/names";
import { Server, Servers } from "../../../docker/gateway/src/backends/servers/server";
import type { Limits } from "../../../docker/gateway/src/limits/capacity";
import { serverOf } from "../../../docker/gateway/src/sandboxes/ids";
import type { World, WorldOptions } from "./backend-contract/world";
import { MsbWorld } from "./msb-world";

/** Several servers over fake msbs, as one backend. */
export class ServersWorld implements World {
  readonly names = new MemoryNames();
  backend!: ServersBackend;

  private constructor(
    readonly worlds: readonly MsbWorld[],
    private readonly namesPerOwner: boolean,
  ) {
    this.open();
  }

  static async make(
    { limits = {}, namesPerOwner = true, beside = false }: WorldOptions = {},
    count = 3,
  ): Promise<ServersWorld> {
    const worlds = Array.from({ length: count }, (_, number) =>
      MsbWorld.make(
        { limits: (beside ? allOrNothing : share)(limits, number, count), namesPerOwner },
        { serverNumber: number },
      ),
    );
    return new ServersWorld(await Promise.all(worlds), namesPerOwner);
  }

  boots = (how: "well" | "fail" | "hang") => this.each((world) => world.boots(how));
  captures = (how: "well" | "fail" | "hang") => this.each((world) => world.captures(how));
  pauses = (how: "well" | "fail" | "hang") => this.each((world) => world.pauses(how));
  agent = (id: string) => this.at(id).agent(id);
  kill = (id: string) => this.at(id).kill(id);
  say = (id: string, source: "stdout" | "stderr", text: string) => this.at(id).say(id, source, text);

  async restart(how: "drained" | "crashed"): Promise<void> {
    await this.each((world) => world.restart(how));
    this.open();
  }

  /** Another router before the same servers. */
  another(): ServersBackend {
    const servers = this.worlds.map((world, number) => new Server(number, world.backend));
    const { names, namesPerOwner } = this;
    return new ServersBackend({ servers: new Servers(servers), names, namesPerOwner });
  }

  at(id: string): MsbWorld {
    const world = this.worlds[serverOf(id) ?? -1];
    if (!world) throw new Error(`${id} is of no server`);
    return world;
  }

  private open(): void {
    this.backend = this.another();
  }

  private async each(work: (world: MsbWorld) => Promise<void>): Promise<void> {
    await Promise.all(this.worlds.map(work));
  }
}

/** What one of several servers has of limits that are those of all together. */
function share(limits: Partial<Limits>, number: number, count: number): Partial<Limits> {
  const shared = Object.entries(limits).map(([field, most]): [string, number] => {
    if (field.startsWith("sandbox") && field !== "sandboxes") return [field, most];
    return [field, Math.floor(most / count) + (number < most % count ? 1 : 0)];
  });
  return Object.fromEntries(shared);
}

/** The first server has all of it, and the others nothing. */
const allOrNothing = (limits: Partial<Limits>, number: number): Partial<Limits> =>
  number === 0 ? limits : { ...limits, totalSandboxes: 0 };
