import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { ServiceError } from "../errors";
import type { Connections } from "./connections";

declare module "fastify" {
  interface FastifyRequest {
    life: RequestLife;
  }
}

/**
 * How a request ended: with its whole answer, as a WebSocket that was open, by the client's leaving, or because its
 * key is no more.
 */
export type RequestEnd = "answered" | "session" | "aborted" | "revoked";

export type Held = {
  /** Somebody else sees to it from now on. */
  handOver: () => void;
};

/**
 * The time from a request's arrival until its answer is through or its connection is closed, and for an upgraded one
 * until the connection is closed. What the server holds for a request is tied to it: it is given back then, however
 * the request ends, also if it has ended before.
 */
export class RequestLife {
  /** Undefined while it lasts. */
  end: RequestEnd | undefined;
  private readonly startedAt = performance.now();
  private readonly held = new Set<() => void>();
  private readonly always = new LazyAbort();
  private readonly early = new LazyAbort();
  private isSession = false;
  private isRevoked = false;

  /** @param reply of a request that has just arrived: nothing was awaited yet, so its close is still to come */
  constructor(
    reply: FastifyReply,
    private readonly over: () => void,
  ) {
    reply.raw.once("close", () => this.finish(reply.raw.writableFinished));
  }

  /** Aborted when it is over, however it ended. */
  get signal(): AbortSignal {
    return this.always.signal;
  }

  /** Aborted when it is over and the client has not got its whole answer. */
  get unanswered(): AbortSignal {
    return this.early.signal;
  }

  get seconds(): number {
    return (performance.now() - this.startedAt) / 1000;
  }

  /** Has `release` called once, when the request is over: at once if it is already. */
  hold(release: () => void): Held {
    this.held.add(release);
    if (this.end) this.release();
    return { handOver: () => void this.held.delete(release) };
  }

  /** To be called after each wait, before anything more is begun. @throws ServiceError if the client has gone */
  check(): void {
    if (this.end) throw new ServiceError("requestTimeout", "the client has gone");
  }

  /** Its WebSocket is open. */
  upgraded(): void {
    this.isSession = true;
  }

  /** It ends because its key is no more. */
  revoked(): void {
    this.isRevoked = true;
  }

  /** Its connection is closed. */
  gone(): void {
    this.finish(false);
  }

  private release(): void {
    for (const release of this.held) {
      this.held.delete(release);
      release();
    }
  }

  private finish(answered: boolean): void {
    if (this.end) return;
    if (this.isRevoked) this.end = "revoked";
    else if (this.isSession) this.end = "session";
    else this.end = answered ? "answered" : "aborted";
    this.release();
    this.always.abort();
    if (this.end === "aborted" || this.end === "revoked") this.early.abort();
    this.over();
  }
}

/** Most requests are never asked for their signal, and a controller is not free. */
class LazyAbort {
  private controller: AbortController | undefined;
  private isAborted = false;

  get signal(): AbortSignal {
    this.controller ??= new AbortController();
    if (this.isAborted) this.controller.abort();
    return this.controller.signal;
  }

  abort(): void {
    this.isAborted = true;
    this.controller?.abort();
  }
}

/** Gives every request its life. Registered before any other hook, so that nothing has been awaited by then. */
export function liveRequests(
  app: FastifyInstance,
  connections: Connections,
  over: (request: FastifyRequest, reply: FastifyReply) => void,
): void {
  // Set by the hook; fastify wants the field declared.
  app.decorateRequest("life", null as unknown as RequestLife);
  app.addHook("onRequest", (request, reply, done) => {
    const life = new RequestLife(reply, () => over(request, reply));
    const answered = connections.add(request.raw.socket, { gone: () => life.gone() });
    // Of a connection that is closed nothing is served, though Node may have read more of its requests.
    if (!answered) return void reply.hijack();
    life.hold(answered);
    request.life = life;
    done();
  });
}
