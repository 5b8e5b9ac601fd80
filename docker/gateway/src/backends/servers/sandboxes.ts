import type { Duplex } from "node:stream";
import { nameTaken, sandboxNotFound, snapshotNotFound } from "../../errors";
import type {
  ListQuery,
  LogEntry,
  LogQuery,
  Page,
  Reference,
  Sandbox,
  SandboxBackend,
  Scope,
  Wanted,
} from "../../sandboxes/backend";
import type { WantedForks } from "../../sandboxes/forks";
import type { Modification, ModificationPlan, PlannedModification } from "../../sandboxes/modification";
import { sizeOf } from "../../sandboxes/sandbox-row";
import type { Desired } from "../../sandboxes/states";
import type { Claims } from "./claims";
import { bearsName, holdsRoom } from "./mirror";
import type { Hold } from "./names";
import type { OwnerQuota } from "./owner-quota";
import type { Placement } from "./placement";
import { firstAnswer, type Server, type Servers } from "./server";
import { WholeSandboxes } from "./whole-sandboxes";

/** The sandboxes of all servers. Each is where its id says, and is looked after there. */
export class ServersSandboxes implements SandboxBackend {
  private readonly whole: WholeSandboxes;

  constructor(
    private readonly servers: Servers,
    private readonly claims: Claims,
    private readonly placement: Placement,
    private readonly quota: OwnerQuota,
    /** The servers that have the named volumes of a spec, undefined for any. @throws ServiceError volumeNotFound, conflict */
    private readonly serversWith: (wanted: Wanted) => Promise<readonly Server[] | undefined>,
    /** @throws ServiceError unavailable while nothing is made or started any more */
    private readonly refuseWhileDraining: () => void,
  ) {
    this.whole = new WholeSandboxes(servers);
  }

  async create(wanted: Wanted): Promise<Sandbox> {
    this.refuseWhileDraining();
    const { spec, owner, desired, snapshot } = wanted;
    let among = await this.serversWith(wanted);
    if (snapshot !== undefined) {
      const having = await this.serversOfSnapshot(snapshot);
      among = among?.filter((server) => having.includes(server)) ?? having;
    }
    const { vcpus, memory_mib: memoryMib } = spec.resources;
    const share = { vcpus, memoryMib, runs: desired === "running" };
    const make = async (server: Server) => server.told(await server.backend.sandboxes.create(wanted));
    const asked = { made: 1, started: share.runs ? { count: 1, vcpus, memoryMib } : undefined };
    const [made] = await this.claims.whileMaking(
      [{ kind: "sandbox", owner, name: spec.name }],
      nameTaken,
      () => this.quota.whileMaking(owner, asked, async () => [await this.placement.make(share, make, among)]),
    );
    return made as Sandbox;
  }

  answered = async (id: string): Promise<void> => (await this.at(id))?.backend.sandboxes.answered(id);

  async get(reference: Reference, scope: Scope): Promise<Sandbox | undefined> {
    const ask = async (server: Server) => server.told(await server.backend.sandboxes.get(reference, scope));
    if ("id" in reference) return (await firstAnswer(this.servers.having(reference.id), ask))?.found;
    const { name } = reference;
    /** What a server answers; nothing where it is away, and had none of that name when it was last heard. */
    const unlessAway = (server: Server, asked: ReturnType<typeof ask>) =>
      asked.catch((error) => {
        server.mirror.keepSeen();
        const known = this.servers.lists.named(name, scope.owner);
        if (!server.mirror.isKnown || known.some(({ id }) => server.mirror.get(id))) throw error;
        return undefined;
      });
    for (const { id } of this.servers.lists.named(name, scope.owner))
      for (const server of this.servers.having(id)) {
        const found = await unlessAway(server, ask(server));
        if (found && bearsName(found)) return found;
      }
    const ended: Sandbox[] = [];
    const found = await firstAnswer(this.servers.all(), async (server) => {
      const answer = await unlessAway(server, server.ask(ask));
      if (answer && !bearsName(answer)) ended.push(answer);
      return answer && bearsName(answer) ? answer : undefined;
    });
    return found?.found ?? ended.at(-1);
  }

  async resolve(id: string): Promise<Sandbox | undefined> {
    const server = await this.at(id);
    return server?.told(await server.backend.sandboxes.resolve(id));
  }

  async list(query: ListQuery): Promise<Page> {
    await this.servers.refresh();
    return this.whole.page(query);
  }

  async want(id: string, desired: Desired): Promise<Sandbox> {
    if (desired === "running") this.refuseWhileDraining();
    const server = await this.holding(id);
    const { sandboxes } = server.backend;
    const want = async () => server.told(await sandboxes.want(id, desired));
    const sandbox = desired === "running" ? await this.start(sandboxes, id, want) : await want();
    const { owner, name } = sandbox;
    if (desired === "removed") await this.claims.forget({ kind: "sandbox", owner, name }, id);
    return sandbox;
  }

  async resume(id: string): Promise<Sandbox> {
    const server = await this.holding(id);
    return server.told(await server.backend.sandboxes.resume(id));
  }

  async fork(id: string, wanted: WantedForks): Promise<Sandbox[]> {
    this.refuseWhileDraining();
    const server = await this.holding(id);
    const source = await server.backend.sandboxes.get({ id }, {});
    if (!source) throw sandboxNotFound(id);
    const { owner } = source;
    const count = wanted.names.length;
    return this.claims.whileMaking(
      wanted.names.map((name) => ({ kind: "sandbox", owner, name })),
      nameTaken,
      () =>
        this.quota.whileMaking(owner, { made: count, started: { count, ...sizeOf(source) } }, async () =>
          (await server.backend.sandboxes.fork(id, wanted)).map((fork) => server.told(fork)),
        ),
    );
  }

  /** One that is up already takes nothing more of its owner's limits. */
  private async start(sandboxes: SandboxBackend, id: string, want: () => Promise<Sandbox>): Promise<Sandbox> {
    const sandbox = await sandboxes.get({ id }, {});
    if (!sandbox || holdsRoom(sandbox)) return want();
    return this.quota.whileMaking(sandbox.owner, { started: { count: 1, ...sizeOf(sandbox) } }, want);
  }

  async until(id: string, holds: (sandbox: Sandbox) => boolean, signal: AbortSignal): Promise<Sandbox> {
    const server = await this.holding(id);
    return server.told(await server.backend.sandboxes.until(id, holds, signal));
  }

  planModification = async (id: string, change: PlannedModification): Promise<ModificationPlan> =>
    (await this.holding(id)).backend.sandboxes.planModification(id, change);

  async modify(id: string, change: Modification): Promise<ModificationPlan> {
    const { backend, mirror } = await this.holding(id);
    return backend.sandboxes.modify(id, change).finally(mirror.outdate);
  }

  openAgent = async (id: string, signal: AbortSignal): Promise<Duplex> =>
    (await this.holding(id)).backend.sandboxes.openAgent(id, signal);

  async *logs(id: string, query: LogQuery): AsyncIterable<LogEntry[]> {
    const server = await this.at(id);
    if (server) yield* server.backend.sandboxes.logs(id, query);
  }

  /**
   * Whether one has the name. While all servers tell of changes, and none has any, nobody is asked for a name that is free.
   * @param before what the registry still knows of the name
   * @throws ServiceError unavailable where that can't be known
   */
  async hasName(name: string, scope: Scope, before?: Hold): Promise<boolean> {
    if (before?.state === "lost") return this.servers.haveName("sandbox", name, scope);
    await this.servers.refresh();
    const known = this.servers.lists.named(name, scope.owner).map(({ id }) => id);
    // What was made through another router may be in no list yet; what is in one may be no more.
    const ids = new Set(before?.id ? [before.id, ...known] : known);
    const found = [...ids].map((id) =>
      firstAnswer(this.servers.having(id), (server) =>
        server.ask(({ backend }) => backend.sandboxes.get({ id }, scope)),
      ),
    );
    return (await Promise.all(found)).some((each) => each && bearsName(each.found));
  }

  /** @throws ServiceError snapshotNotFound; the server of the snapshot may throw it, too */
  private async serversOfSnapshot(id: string): Promise<readonly Server[]> {
    const having = this.servers.having(id);
    if (having.length === 1) return having;
    const find = ({ backend }: Server) => backend.snapshots.find({ id }, {});
    const found = await firstAnswer(having, find);
    if (!found) throw snapshotNotFound(id);
    return [found.server];
  }

  /** The server of an id, where there is one. */
  private async at(id: string): Promise<Server | undefined> {
    const [only, ...others] = this.servers.having(id);
    if (others.length === 0) return only;
    const known = this.servers.all().find(({ mirror }) => mirror.get(id));
    if (known) return known;
    const ask = (server: Server) => server.backend.sandboxes.get({ id }, {});
    return (await firstAnswer(this.servers.all(), ask))?.server;
  }

  /** @throws ServiceError sandboxNotFound */
  private async holding(id: string): Promise<Server> {
    const server = await this.at(id);
    if (!server) throw sandboxNotFound(id);
    return server;
  }
}
