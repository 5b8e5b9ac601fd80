import { ServiceError } from "../../errors";
import type { Limits } from "../../limits/capacity";
import type { Sandbox } from "../../sandboxes/backend";
import type { MirroredBackend, NamedKind } from "../../sandboxes/changes";
import { serverOf } from "../../sandboxes/ids";
import type { Scope } from "../../sandboxes/scope";
import { SharedRead } from "../../shared-read";
import { within } from "../../within";
import { Lists } from "./lists";
import { Mirror } from "./mirror";

/** One of several servers. */
export class Server {
  readonly mirror: Mirror;
  /** What it said last; undefined before it has said anything. */
  limits: Limits | undefined;
  ready = false;
  private readonly state: SharedRead;
  /** Whether it has not answered even the shortest question for a while. */
  private isSilent = false;
  private isPinged = false;

  constructor(
    /** What the ids of its things say. */
    readonly number: number,
    readonly backend: MirroredBackend,
  ) {
    this.mirror = new Mirror(backend.sandboxes);
    this.state = new SharedRead(async () => {
      const [limits, { ready }] = await Promise.all([backend.limits(), backend.readiness()]);
      Object.assign(this, { limits, ready });
    });
  }

  /**
   * Asks it for something that all servers are asked for, and waits for {@link PATIENCE_MS}. What is late then may be
   * what one key has made slow: only while no ping is answered either it is asked for nothing more.
   * @throws ServiceError what it throws; unavailable where it is late
   */
  async ask<T>(what: (server: this) => Promise<T>): Promise<T> {
    if (this.isSilent) throw this.silent();
    const asked = what(this);
    const over = asked.then(
      () => undefined,
      () => undefined,
    );
    if (await within(over, PATIENCE_MS)) return asked;
    void this.ping();
    throw this.silent();
  }

  /** One at a time, until it is answered or fails. Never rejects. */
  private async ping(): Promise<void> {
    if (this.isPinged) return;
    this.isPinged = true;
    const over = this.backend.ping().catch(() => undefined);
    this.isSilent = !(await within(over, PATIENCE_MS));
    await over;
    this.isPinged = false;
    this.isSilent = false;
  }

  /** Learns its limits and whether it is ready, unless that is known since a second. @throws ServiceError */
  look = (): Promise<void> => this.ask(() => this.state.refresh(STATE_AGE_MS));

  /** What it has answered with: lists made after it show nothing older. */
  told<T extends Sandbox | undefined>(sandbox: T): T {
    if (sandbox) this.mirror.saw(sandbox);
    return sandbox;
  }

  private silent = () =>
    new ServiceError("unavailable", `server ${this.number} does not answer`, { retryAfterSeconds: 2 });
}

/** Milliseconds for which limits and readiness are believed: a server that is not ready refuses by itself. */
const STATE_AGE_MS = 1_000;
/** Milliseconds that everybody waits for one of several servers. */
const PATIENCE_MS = 2_000;

/** The servers that there are, and what was last known of their sandboxes. */
export class Servers {
  readonly lists = new Lists();
  private current: readonly Server[] = [];
  private joining: readonly Server[] = [];

  constructor(servers: readonly Server[]) {
    this.replace(servers);
  }

  /** In the order of their numbers. */
  all = (): readonly Server[] => this.current;

  /** Those that nobody waits for yet. */
  notYet = (): readonly Server[] => this.joining;

  /**
   * From here on it is these. What is on those that are no more is nobody's.
   * @param joining new ones, of which nothing was heard yet: they are asked for what bears their number, and lists and new
   * names don't wait for them. Default: none
   */
  replace(servers: readonly Server[], joining: readonly Server[] = []): void {
    this.joining = joining;
    for (const server of this.current) if (!servers.includes(server)) server.mirror.watch(undefined);
    for (const server of servers) if (!this.current.includes(server)) server.mirror.watch(this.lists);
    this.current = [...servers].sort((a, b) => a.number - b.number);
  }

  /**
   * Brings the lists up to date. Of a server that does not answer they hold what was last known.
   * @throws ServiceError unavailable where nothing was ever known of one: the lists would not be whole
   */
  async refresh(): Promise<void> {
    const others = this.current.filter(({ mirror }) => !mirror.isCurrent());
    const ask = (server: Server) =>
      server
        .ask(({ mirror }) => mirror.refresh())
        .catch((error) => {
          server.mirror.keepSeen();
          if (!server.mirror.isKnown) throw error;
        });
    await Promise.all(others.map(ask));
  }

  /**
   * Whether one of them has the name, or makes something under it.
   * @throws ServiceError unavailable where one does not answer, and no other has it
   */
  async haveName(kind: NamedKind, name: string, scope: Scope): Promise<boolean> {
    const ask = async ({ backend }: Server) => (await backend.hasName(kind, name, scope)) || undefined;
    return (await firstAnswer(this.current, (server) => server.ask(ask))) !== undefined;
  }

  /** Those that something of this id may be on: the one that it names or, where it names none, all. */
  having(id: string): readonly Server[] {
    const number = serverOf(id);
    if (number === undefined) return this.current;
    return [...this.current, ...this.joining].filter((server) => server.number === number);
  }

  /** What each of them answers; of one that doesn't, what is known else. @throws what `known` throws */
  each = <T>(
    what: (server: Server) => Promise<T>,
    known: (server: Server, error: unknown) => T,
  ): Promise<T[]> =>
    Promise.all(
      this.current.map((server) =>
        server.ask(what).catch((error) => {
          server.mirror.keepSeen();
          return known(server, error);
        }),
      ),
    );

  /** What each of them answers. @throws ServiceError where one of them does not */
  every = <T>(what: (server: Server) => Promise<T>): Promise<T[]> =>
    Promise.all(this.current.map((server) => server.ask(what)));
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
