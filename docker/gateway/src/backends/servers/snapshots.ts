import { ServiceError, sandboxNotFound, snapshotNameTaken, snapshotNotFound } from "../../errors";
import { comparePositions, type Scope } from "../../sandboxes/scope";
import type {
  Snapshot,
  SnapshotBackend,
  SnapshotOperation,
  SnapshotPage,
  SnapshotQuery,
  SnapshotReference,
  WantedSnapshot,
} from "../../sandboxes/snapshots";
import { roomFor } from "./answer-size";
import type { Claims } from "./claims";
import type { OwnerQuota } from "./owner-quota";
import { firstAnswer, type Server, type Servers } from "./server";

/** The snapshots of all servers. Each is where its sandbox is, and sandboxes start from it there. */
export class ServersSnapshots implements SnapshotBackend {
  constructor(
    private readonly servers: Servers,
    private readonly claims: Claims,
    private readonly quota: OwnerQuota,
    private readonly namesPerOwner: boolean,
    /** @throws ServiceError unavailable while nothing is made any more */
    private readonly refuseWhileDraining: () => void,
  ) {}

  async create(wanted: WantedSnapshot): Promise<SnapshotOperation> {
    this.refuseWhileDraining();
    const { sandboxId, name, owner, force } = wanted;
    const having = this.servers.having(sandboxId);
    const ask = (server: Server) => server.backend.sandboxes.get({ id: sandboxId }, {});
    const server = (await firstAnswer(having, ask))?.server;
    if (!server) throw sandboxNotFound(sandboxId);
    const scope = this.namesPerOwner ? { owner } : {};
    const bearer = force ? await this.bearer(name, scope) : undefined;
    const make = () => server.backend.snapshots.create(wanted);
    // That server alone can put one in the place of the other: it is one more of its owner only where the other was another's.
    if (bearer?.server === server)
      return this.quota.whileMaking(owner, { snapshots: bearer.snapshot?.owner === owner ? 0 : 1 }, make);
    if (bearer) {
      const why = `the snapshot ${JSON.stringify(name)} is on server ${bearer.server.number}, and this sandbox is not`;
      throw new ServiceError("conflict", `${why}: remove it first, or take another name`);
    }
    const [made] = await this.claims.whileMaking([{ kind: "snapshot", owner, name }], snapshotNameTaken, () =>
      this.quota.whileMaking(owner, { snapshots: 1 }, async () => [await make()]),
    );
    return made as SnapshotOperation;
  }

  async operation(id: string, scope: Scope): Promise<SnapshotOperation | undefined> {
    const ask = (server: Server) => server.backend.snapshots.operation(id, scope);
    return (await firstAnswer(this.servers.having(id), ask))?.found;
  }

  async until(id: string, signal: AbortSignal): Promise<SnapshotOperation> {
    const ask = async (server: Server) =>
      (await server.backend.snapshots.operation(id, {})) ? true : undefined;
    const having = await firstAnswer(this.servers.having(id), ask);
    if (!having) throw snapshotNotFound(id);
    return having.server.backend.snapshots.until(id, signal);
  }

  /** @throws ServiceError unavailable while a server does not answer: no copy is kept of what it has */
  async list(query: SnapshotQuery): Promise<SnapshotPage> {
    const room = roomFor(this.servers.all().length);
    const pages = await this.servers.every(({ backend }) => backend.snapshots.list({ ...query, room }));
    const all = pages.flatMap(({ items }) => items).sort(comparePositions);
    // What comes after the end of one of them may not be all of what comes next.
    const ends = pages.flatMap(({ items, more }) => (more ? (items.at(-1) ?? []) : []));
    const [end] = ends.sort(comparePositions);
    const whole = end ? all.filter((each) => comparePositions(each, end) <= 0) : all;
    return { items: whole.slice(0, query.limit), more: whole.length > query.limit || end !== undefined };
  }

  async find(reference: SnapshotReference, scope: Scope): Promise<Snapshot | undefined> {
    const servers = "id" in reference ? this.servers.having(reference.id) : this.servers.all();
    const ask = (server: Server) => server.backend.snapshots.find(reference, scope);
    return (await firstAnswer(servers, (server) => server.ask(ask)))?.found;
  }

  async remove(id: string, scope: Scope): Promise<void> {
    const ask = (server: Server) => server.backend.snapshots.find({ id }, scope);
    const having = await firstAnswer(this.servers.having(id), ask);
    if (!having) throw snapshotNotFound(id);
    await having.server.backend.snapshots.remove(id, scope);
  }

  /** Whether one has the name, or is being made under it. @throws ServiceError unavailable where a server does not answer */
  hasName = (name: string, scope: Scope): Promise<boolean> => this.servers.haveName("snapshot", name, scope);

  private async bearer(name: string, scope: Scope) {
    const found = await Promise.all(
      this.servers.all().map(async (server) => ({
        server,
        snapshot: await server.ask(({ backend }) => backend.snapshots.find({ name }, scope)),
      })),
    );
    // A digest is found by the same words.
    return found.find(({ snapshot }) => snapshot?.name === name);
  }
}
