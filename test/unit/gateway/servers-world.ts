import { ServersBackend } from "../../../docker/gateway/src/backends/servers/backend";
import { MemoryNames, type Names } from "../../../docker/gateway/src/backends/servers/names";
import { Server, Servers } from "../../../docker/gateway/src/backends/servers/server";
import { ServiceError } from "../../../docker/gateway/src/errors";
import type { Limits, OwnerLimits } from "../../../docker/gateway/src/limits/capacity";
import type { Owner } from "../../../docker/gateway/src/sandboxes/backend";
import type { MirroredBackend } from "../../../docker/gateway/src/sandboxes/changes";
import { serverOf } from "../../../docker/gateway/src/sandboxes/ids";
import type { World, WorldOptions } from "./backend-contract/world";
import { MsbWorld } from "./msb-world";

/** What can become of the way to a server. */
export type Way = { state: "open" | "closed" | "silent" | "lost answers" };

type RouterOptions = {
  names?: Names;
  around?: (world: MsbWorld, number: number) => MirroredBackend;
  limitsOf?: (owner: Owner) => OwnerLimits;
};

/** Several servers over fake msbs, as one backend. */
export class ServersWorld implements World {
  backend!: ServersBackend;

  private constructor(
    readonly worlds: readonly MsbWorld[],
    private readonly namesPerOwner: boolean,
  ) {
    this.open();
  }

  static async make(
    { limits = {}, namesPerOwner = true, beside = false }: WorldOptions = {},
    { count = 3, areNumbered = true }: { count?: number; areNumbered?: boolean } = {},
  ): Promise<ServersWorld> {
    const worlds = Array.from({ length: count }, (_, number) =>
      MsbWorld.make(
        { limits: (beside ? allOrNothing : share)(limits, number, count), namesPerOwner },
        { serverNumber: areNumbered ? number : undefined },
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

  /** Another router before the same servers, by default with a registry of its own, as a process that starts has. */
  another({ names = new MemoryNames(), around = ({ backend }) => backend, limitsOf }: RouterOptions = {}) {
    const servers = this.worlds.map((world, number) => new Server(number, around(world, number)));
    const { namesPerOwner } = this;
    return new ServersBackend({ servers: new Servers(servers), names, namesPerOwner, limitsOf });
  }

  /** Another router, with a way to each server. */
  anotherOverWays(options: RouterOptions = {}, state: Way["state"] = "open") {
    const ways = this.worlds.map((): Way => ({ state }));
    const around = (world: MsbWorld, number: number) => behind(() => world.backend, ways[number] as Way);
    return { router: this.another({ ...options, around }), ways };
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

/** Nothing is told of changes. */
async function* unheard(): AsyncGenerator<never> {}

/** What is found at each moment, behind a way that may be closed, or on which answers are lost whose requests arrived. */
function behind<T extends object>(find: () => T, way: Way): T {
  return new Proxy({} as T, {
    get(_, key) {
      const part = (find() as Record<PropertyKey, unknown>)[key];
      if (typeof part === "object" && part !== null)
        return behind(() => (find() as Record<PropertyKey, object>)[key] as object, way);
      if (typeof part !== "function") return part;
      if (key === "watchChanges" && way.state !== "open") return unheard;
      return (...args: unknown[]) => {
        const away = (uncertain: boolean) =>
          Promise.reject(new ServiceError("unavailable", "the server does not answer", { uncertain }));
        if (way.state === "closed") return away(false);
        if (way.state === "silent") return new Promise(() => undefined);
        const answer = part.apply(find(), args);
        return way.state === "open" ? answer : Promise.resolve(answer).then(() => away(true));
      };
    },
  });
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
