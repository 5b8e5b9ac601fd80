import { randomInt } from "node:crypto";
import { isKind, type ServiceError } from "../../errors";
import type { Limits } from "../../limits/capacity";
import type { Usage } from "../../sandboxes/backend";
import { noServer, type Server, type Servers } from "./server";

/** Servers that are compared for one decision. */
const CANDIDATES = 4;

/** Milliseconds for which it is believed what is used of a server: a create has just asked, for the names. */
const USAGE_AGE_MS = 100;

/** What something takes of a server. */
export type Share = { vcpus: number; memoryMib: number; runs: boolean };

/** Where something new goes: to the one that has promised the least of what it has, of a few picked at random. */
export class Placement {
  /** What is being made and no server counts yet. */
  private readonly pending = new Map<Server, { memoryMib: number; cpus: number }>();

  constructor(private readonly servers: Servers) {}

  /**
   * Makes something on one server after the other until one takes it.
   * @param among those that may have it; default: all
   * @throws ServiceError that of the last one that refused; unavailable where there is none
   */
  async make<T>(
    share: Share,
    make: (server: Server) => Promise<T>,
    among: readonly Server[] = this.servers.all(),
  ): Promise<T> {
    let refusal: ServiceError = noServer();
    for (const server of await this.inOrder(among, share)) {
      const leave = this.enter(server, share);
      try {
        return await make(server);
      } catch (error) {
        if (!isKind(error, "noCapacity", "diskFull", "unavailable") || error.options.uncertain) throw error;
        // A server that is full says more than one that doesn't answer.
        if (refusal.kind === "unavailable") refusal = error;
      } finally {
        leave();
      }
    }
    throw refusal;
  }

  /** A few by what they have promised, then the others in any order. */
  private async inOrder(among: readonly Server[], share: Share): Promise<Server[]> {
    const shuffled = shuffle(among);
    const candidates = shuffled.slice(0, CANDIDATES);
    const loads = await Promise.all(candidates.map((server) => this.load(server, share)));
    const ranked = candidates.map((server, at) => ({ server, load: loads[at] ?? Number.POSITIVE_INFINITY }));
    ranked.sort((a, b) => a.load - b.load);
    return [...ranked.map(({ server }) => server), ...shuffled.slice(CANDIDATES)];
  }

  /** How much of it would be promised, above 1 for too much; infinite for one that does not answer. */
  private async load(server: Server, share: Share): Promise<number> {
    const looks = [server.look(), server.ask(({ mirror }) => mirror.refreshRoughly(USAGE_AGE_MS))];
    const isKnown = await Promise.all(looks).then(
      () => true,
      () => false,
    );
    const { limits, ready, mirror } = server;
    if (!isKnown || !ready || !limits) return Number.POSITIVE_INFINITY;
    return loadOf(mirror.usage(undefined), limits, this.pending.get(server), share);
  }

  private enter(server: Server, { memoryMib, vcpus, runs }: Share): () => void {
    if (!runs) return () => undefined;
    const change = (sign: 1 | -1) => {
      const { memoryMib: memory, cpus } = this.pending.get(server) ?? { memoryMib: 0, cpus: 0 };
      this.pending.set(server, { memoryMib: memory + sign * memoryMib, cpus: cpus + sign * vcpus });
    };
    change(1);
    return () => change(-1);
  }
}

function loadOf(
  usage: Usage,
  limits: Limits,
  pending: { memoryMib: number; cpus: number } = { memoryMib: 0, cpus: 0 },
  { memoryMib, vcpus, runs }: Share,
): number {
  const [memory, cpus, one] = runs ? [memoryMib, vcpus, 1] : [0, 0, 0];
  return Math.max(
    (usage.memoryMib + pending.memoryMib + memory) / limits.memoryMib,
    (usage.cpus + pending.cpus + cpus) / limits.cpus,
    (usage.running + one) / limits.sandboxes,
    (usage.total + 1) / limits.totalSandboxes,
  );
}

function shuffle<T>(values: readonly T[]): T[] {
  const shuffled = [...values];
  for (let at = shuffled.length - 1; at > 0; at--) {
    const other = randomInt(at + 1);
    [shuffled[at], shuffled[other]] = [shuffled[other] as T, shuffled[at] as T];
  }
  return shuffled;
}
