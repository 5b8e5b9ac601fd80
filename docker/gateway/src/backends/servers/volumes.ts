import { ServiceError, volumeNameTaken, volumeNotFound } from "../../errors";
import type { Charged, Scope, Volume, VolumeBackend, Wanted, WantedVolume } from "../../sandboxes/backend";
import { comparePositions } from "../../sandboxes/scope";
import type { FileCaller, VolumeFiles } from "../../sandboxes/volume-files";
import { GIB } from "../../sandboxes/volume-files";
import type { Claims } from "./claims";
import type { Hold } from "./names";
import type { OwnerQuota } from "./owner-quota";
import type { Placement } from "./placement";
import { firstAnswer, noServer, type Server, type Servers } from "./server";
import { VolumeLists } from "./volume-lists";

/** The volumes of all servers. Each is on one of them, and sandboxes that mount it are there, too. */
export class ServersVolumes implements VolumeBackend {
  private readonly lists = new VolumeLists();

  constructor(
    private readonly servers: Servers,
    private readonly claims: Claims,
    private readonly placement: Placement,
    private readonly quota: OwnerQuota,
    private readonly namesPerOwner: boolean,
    /** @throws ServiceError unavailable while nothing is made any more */
    private readonly refuseWhileDraining: () => void,
  ) {}

  /**
   * Of a server that does not answer, what was last known.
   * @throws ServiceError unavailable where that is nothing
   */
  async list({ owner }: Scope, charged?: Charged): Promise<Volume[]> {
    const known = (server: Server, error: unknown) => {
      const volumes = this.lists.known(server, owner);
      if (!volumes) throw error;
      return volumes;
    };
    const lists = await this.servers.each((server) => this.lists.look(server, owner, charged), known);
    return lists.flat().sort(comparePositions);
  }

  /** That of the first server: the other servers' guests do not see it. */
  async shared(): Promise<Volume> {
    const [first] = this.servers.all();
    if (!first) throw noServer();
    return first.backend.volumes.shared();
  }

  async create(wanted: WantedVolume): Promise<Volume> {
    this.refuseWhileDraining();
    const { owner, name } = wanted;
    const share = { vcpus: 0, memoryMib: 0, runs: false };
    const make = async (server: Server) => {
      const volume = await server.backend.volumes.create(wanted);
      this.lists.add(server, volume);
      return volume;
    };
    const asked = { volume: { gib: wanted.capacityGib ?? 0 } };
    const [made] = await this.claims.whileMaking([{ kind: "volume", owner, name }], volumeNameTaken, () =>
      this.quota.whileMaking(owner, asked, async () => [await this.placement.make(share, make)]),
    );
    return made as Volume;
  }

  async remove(id: string, scope: Scope): Promise<void> {
    const server = await this.holding(id, scope);
    await server.backend.volumes.remove(id, scope);
    this.lists.remove(server, id);
  }

  async files(id: string, scope: Scope, caller: FileCaller): Promise<VolumeFiles> {
    const server = await this.holding(id, scope);
    const mostBytes = () => this.bytesOn(server, caller.owner);
    return server.backend.volumes.files(id, scope, { ...caller, mostBytes });
  }

  /** What an owner may have in volumes of one server, beside those of the others; undefined where that is not limited. */
  private async bytesOn(server: Server, owner: FileCaller["owner"]): Promise<number | undefined> {
    if (typeof owner === "symbol") return undefined;
    const { volumeGib } = this.quota.limitsOf(owner);
    if (volumeGib === undefined) return undefined;
    const used = await this.servers.every(async (each) =>
      each === server ? 0 : (await each.backend.usage(owner)).volumeGib,
    );
    const left = volumeGib - used.reduce((sum, gib) => sum + gib, 0);
    return Math.max(0, left) * GIB;
  }

  /**
   * Whether one has the name, or is being made under it; of a server that does not answer, what was last known.
   * @param before what the registry still knows of the name
   * @throws ServiceError unavailable where that can't be known
   */
  async hasName(name: string, scope: Scope, before?: Hold): Promise<boolean> {
    if (before?.state === "lost") return this.servers.haveName("volume", name, scope);
    const ask = ({ backend }: Server) => backend.hasName("volume", name, scope);
    const answers = this.servers.all().map((server) =>
      server.ask(ask).catch((error) => {
        const known = this.lists.known(server, scope.owner);
        if (!known) throw error;
        return known.some((volume) => volume.name === name);
      }),
    );
    return (await Promise.all(answers)).includes(true);
  }

  /** The servers that have all named volumes of a spec; undefined for one that mounts none. */
  async serversWith({ spec: { mounts }, owner }: Wanted): Promise<readonly Server[] | undefined> {
    const mounted = mounts.flatMap((mount) => (mount.type === "named" ? [mount.name] : []));
    const names = [...new Set(mounted)];
    if (names.length === 0) return undefined;
    const scope = this.namesPerOwner ? { owner } : {};
    const all = this.servers.all();
    const ask = ({ backend }: Server) => backend.volumes.known({ names }, scope);
    const answers = await Promise.allSettled(all.map((server) => server.ask(ask)));
    const has = (name: string, answer: (typeof answers)[number] | undefined) =>
      answer?.status === "fulfilled" && answer.value.includes(name);
    const found = names.map((name) => {
      const server = all.find((_, at) => has(name, answers[at]));
      if (server) return { name, server };
      const failed = answers.find((answer) => answer.status === "rejected");
      throw failed?.reason ?? volumeNotFound(name);
    });
    const servers = new Set(found.map(({ server }) => server));
    if (servers.size > 1) {
      const places = found.map(({ name, server }) => `${JSON.stringify(name)} on ${server.number}`);
      const why = `volumes of one sandbox have to be on one server: ${places.join(", ")}`;
      throw new ServiceError("conflict", why);
    }
    return [...servers];
  }

  /** The server of a volume; the shared one is the first server's. @throws ServiceError volumeNotFound */
  private async holding(id: string, scope: Scope): Promise<Server> {
    const [only, ...others] = this.servers.having(id);
    if (only && others.length === 0) return only;
    const [first] = this.servers.all();
    const ask = ({ backend }: Server) => backend.volumes.known({ ids: [id] }, scope);
    const having = await firstAnswer(this.servers.all(), async (server) =>
      (await server.ask(ask)).includes(id) ? true : undefined,
    );
    if (having) return having.server;
    if (!first || (await first.backend.volumes.shared()).id !== id) throw volumeNotFound(id);
    return first;
  }
}
