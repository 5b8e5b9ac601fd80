import { errorText, serverStopping } from "../../errors";
import type { Limits, OwnerLimits } from "../../limits/capacity";
import {
  type Backend,
  type Check,
  noUsage,
  type Owner,
  type Usage,
  type Wanted,
} from "../../sandboxes/backend";
import type { SandboxStatus } from "../../sandboxes/spec";
import { type Claim, Claims } from "./claims";
import type { Hold, Names } from "./names";
import { OwnerQuota } from "./owner-quota";
import { Placement } from "./placement";
import { ServersSandboxes } from "./sandboxes";
import { firstAnswer, noServer, type Servers } from "./server";
import { ServersSnapshots } from "./snapshots";
import { ServersVolumes } from "./volumes";

export type ServersBackendOptions = {
  servers: Servers;
  names: Names;
  /** Whether names are for each owner by itself. */
  namesPerOwner: boolean;
  /** What an owner may have on all servers together, which know nothing of it. Default: no limits. */
  limitsOf?: (owner: Owner) => OwnerLimits;
  /** What else has to hold before it is ready. Default: nothing. */
  checks?: () => Record<string, Check>;
};

/** Several servers as one. It keeps nothing of its own but copies: any number may stand before the same servers. */
export class ServersBackend implements Backend {
  readonly sandboxes: ServersSandboxes;
  readonly volumes: ServersVolumes;
  readonly snapshots: ServersSnapshots;
  private readonly servers: Servers;
  private readonly checks: () => Record<string, Check>;
  private draining = false;

  constructor(options: ServersBackendOptions) {
    const { servers, names, namesPerOwner, limitsOf = () => ({}), checks = () => ({}) } = options;
    this.servers = servers;
    this.checks = checks;
    const isTaken = ({ kind, owner, name }: Claim, before?: Hold): Promise<boolean> => {
      const scope = namesPerOwner ? { owner } : {};
      if (kind === "sandbox") return this.sandboxes.hasName(name, scope, before);
      if (kind === "volume") return this.volumes.hasName(name, scope, before);
      return this.snapshots.hasName(name, scope);
    };
    const claims = new Claims({ names, namesPerOwner, isTaken });
    const placement = new Placement(servers);
    const refuse = () => {
      if (this.draining) throw serverStopping();
    };
    const quota = new OwnerQuota(limitsOf, {
      ofSandboxes: (owner) => this.usage(owner),
      ofAll: async (owner) => sum(await servers.every(({ backend }) => backend.usage(owner)), noUsage()),
    });
    this.volumes = new ServersVolumes(servers, claims, placement, quota, namesPerOwner, refuse);
    const serversWith = (wanted: Wanted) => this.volumes.serversWith(wanted);
    this.sandboxes = new ServersSandboxes(servers, claims, placement, quota, serversWith, refuse);
    this.snapshots = new ServersSnapshots(servers, claims, quota, namesPerOwner, refuse);
  }

  /** Of all servers together; the most that one sandbox may ask for is that of the largest. */
  async limits(): Promise<Limits> {
    const all = this.servers.all();
    await Promise.allSettled(all.map((server) => server.look()));
    // Of one that does not answer what it said last.
    const known = all.flatMap(({ limits }) => limits ?? []);
    const [first, ...others] = known;
    if (!first) throw noServer();
    const merged = { ...first };
    for (const limits of others)
      for (const field of Object.keys(merged) as (keyof Limits)[])
        merged[field] = OF_ONE.has(field)
          ? Math.max(merged[field], limits[field])
          : merged[field] + limits[field];
    return merged;
  }

  /**
   * Of a server that does not answer, what its sandboxes use as far as that is known.
   * @throws ServiceError unavailable where that is nothing, and an owner is asked for
   */
  async usage(owner?: Owner): Promise<Usage> {
    const all = await this.servers.each(
      ({ backend }) => backend.usage(owner),
      ({ mirror }, error) => {
        if (owner !== undefined && !mirror.isKnown) throw error;
        return mirror.usage(owner);
      },
    );
    return sum(all, noUsage());
  }

  async statuses(): Promise<Record<SandboxStatus, number>> {
    const all = await this.servers.each(
      ({ backend }) => backend.statuses(),
      ({ mirror }) => mirror.statuses(),
    );
    return sum(all, { created: 0, starting: 0, running: 0, stopping: 0, stopped: 0, failed: 0 });
  }

  async version(): Promise<string> {
    const answer = await firstAnswer(this.servers.all(), (server) =>
      server.ask(({ backend }) => backend.version()),
    );
    if (!answer) throw noServer();
    return answer.found;
  }

  /** Ready where one of the servers is, and all have answered at least once: before, there are no lists. */
  async readiness(): Promise<{ ready: boolean; checks: Record<string, Check> }> {
    const all = await this.servers.each(
      async ({ backend, mirror }) => {
        if (!mirror.isKnown) await mirror.refresh();
        return backend.readiness();
      },
      (_, error) => ({ ready: false, checks: { answer: { ok: false, reason: errorText(error) } } }),
    );
    const servers = this.servers.all();
    const checks = servers.map(({ number }, at): [string, Check] => {
      const wrong = Object.values(all[at]?.checks ?? {}).find(({ ok }) => !ok);
      return [`server-${number}`, all[at]?.ready ? { ok: true } : { ok: false, reason: wrong?.reason }];
    });
    const others = this.checks();
    const ready =
      all.some((each) => each.ready) &&
      servers.every(({ mirror }) => mirror.isKnown) &&
      Object.values(others).every(({ ok }) => ok);
    const none: Check = { ok: false, reason: "there is no server" };
    const joining = this.servers.notYet().map(({ number }): [string, Check] => {
      return [`server-${number}`, { ok: false, reason: "it is new, and has not answered yet" }];
    });
    const ofServers = [...checks, ...joining];
    return {
      ready,
      checks: { ...(ofServers.length === 0 ? { servers: none } : Object.fromEntries(ofServers)), ...others },
    };
  }

  async resume(): Promise<void> {
    await Promise.all(this.servers.all().map(({ backend }) => backend.resume()));
  }

  async drain(deadline: number): Promise<void> {
    this.draining = true;
    await Promise.all(this.servers.all().map(({ backend }) => backend.drain(deadline)));
  }

  async close(): Promise<void> {
    const servers = this.servers.all();
    this.servers.replace([]);
    await Promise.all(servers.map(({ backend }) => backend.close()));
  }
}

/** Limits of one sandbox, not of all together. */
const OF_ONE = new Set<keyof Limits>(["sandboxMemoryMib", "sandboxCpus", "sandboxDiskMib"]);

/** Adds up figures, field by field. */
function sum<T extends Record<string, number>>(all: readonly T[], nothing: T): T {
  const total: Record<string, number> = nothing;
  for (const each of all)
    for (const [field, value] of Object.entries(each)) total[field] = (total[field] ?? 0) + value;
  return total as T;
}
