import { ServiceError } from "../../errors";
import type { MirroredBackend } from "../../sandboxes/changes";
import { serverOf } from "../../sandboxes/ids";
import { Lists } from "./lists";
import { Mirror } from "./mirror";

/** One of several servers. */
export class Server {
  readonly mirror: Mirror;

  constructor(
    /** What the ids of its things say. */
    readonly number: number,
    readonly backend: MirroredBackend,
  ) {
    this.mirror = new Mirror((since) => backend.sandboxes.changes(since));
  }
}

/** The servers that there are, and what was last known of their sandboxes. */
export class Servers {
  readonly lists = new Lists();
  private current: readonly Server[] = [];

  constructor(servers: readonly Server[]) {
    this.replace(servers);
  }

  /** In the order of their numbers. */
  all = (): readonly Server[] => this.current;

  /** From here on it is these. What is on those that are no more is nobody's. */
  replace(servers: readonly Server[]): void {
    for (const server of this.current) if (!servers.includes(server)) server.mirror.watch(undefined);
    for (const server of servers) if (!this.current.includes(server)) server.mirror.watch(this.lists);
    this.current = [...servers].sort((a, b) => a.number - b.number);
  }

  /** Those that something of this id may be on: the one that it names or, where it names none, all. */
  having(id: string): readonly Server[] {
    const number = serverOf(id);
    return number === undefined ? this.current : this.current.filter((server) => server.number === number);
  }

  /** What each of them answers; of one that doesn't, what is known else. */
  each = <T>(ask: (server: Server) => Promise<T>, known: (server: Server) => T): Promise<T[]> =>
    Promise.all(this.current.map((server) => ask(server).catch(() => known(server))));
}

/**
 * The first of their answers that is one, of those who were all asked at once.
 * @throws what one of them threw, where none has an answer
 */
export async function firstAnswer<T>(
  servers: readonly Server[],
  ask: (server: Server) => Promise<T | undefined>,
): Promise<{ server: Server; found: T } | undefined> {
  const answers = await Promise.allSettled(servers.map(ask));
  for (const [at, answer] of answers.entries()) {
    const server = servers[at];
    if (server && answer.status === "fulfilled" && answer.value !== undefined)
      return { server, found: answer.value };
  }
  const failed = answers.find((answer) => answer.status === "rejected");
  if (failed) throw failed.reason;
  return undefined;
}

/** Why nothing can be made while there is no server at all. */
export const noServer = () =>
  new ServiceError("unavailable", "there is no server that answers; try again in a moment", {
    retryAfterSeconds: 10,
  });
