import type { Socket } from "node:net";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { errorText, ServiceError } from "../errors";
import { LineBudget } from "../limits/line-budget";
import type { Connections } from "./connections";
import type { Metrics } from "./metrics";
import { liveRequests } from "./request-life";

declare module "fastify" {
  interface FastifyContextConfig {
    /** The request is one for the audit trail, whatever its method. */
    audit?: boolean;
  }
  interface FastifyRequest {
    /** Why the server could not do what was asked for, for the request's line; null where it could. */
    failure: unknown;
  }
}

/** Asked by machines every few seconds: not worth a line each. */
const QUIET = new Set(["/healthz", "/readyz", "/metrics"]);
/** Methods that change nothing. */
const READING = new Set(["GET", "HEAD", "OPTIONS", "TRACE", "PROPFIND"]);
/** An id of a path may be anything until it is looked up: only what is one gets into the log. */
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
const MAX_NAME = 128;
/** Lines of all requests without a key together: the log, which is rotated by size, is not theirs to fill. */
const STRANGERS = { burst: 50, perSecond: 0.5 };
/** Lines of each key: for what was refused or cut off, which costs nothing to ask for, and for what changes nothing. */
const REFUSED = { burst: 100, perSecond: 1 };
const READS = { burst: 1_000, perSecond: 10 };
/** And for what changed something, or may have: what one key does honestly is less. */
const CHANGES = { burst: 2_000, perSecond: 20 };

/**
 * One log line and one figure for every request when it is over, however it ends: answered, aborted by the client,
 * ended because its key is no more, or an agent session that was closed. Requests that change something, and agent sessions, are
 * lines with `audit: true`. All are lines as long as their key has not written too many.
 */
export function accountForRequests(app: FastifyInstance, metrics: Metrics, connections: Connections): void {
  const traffic = new Traffic();
  const leftOut = () => metrics.linesLeftOut.inc();
  const budgets = {
    strangers: new LineBudget(app.log, { rate: STRANGERS, what: "requests without a key", leftOut }),
    refused: new LineBudget(app.log, { rate: REFUSED, what: "refused requests", leftOut }),
    changes: new LineBudget(app.log, {
      rate: CHANGES,
      what: "requests that may have changed something",
      leftOut,
    }),
    reads: new LineBudget(app.log, { rate: READS, what: "requests that change nothing", leftOut }),
  };
  app.addHook("onClose", async () => {
    for (const budget of Object.values(budgets)) budget.close();
  });
  const mayLog = (request: FastifyRequest, status: string | number): boolean => {
    const { key, keyId, life } = request;
    if (!key) return budgets.strangers.take("");
    if (life.end === "aborted" || Number(status) >= 400) return budgets.refused.take(keyId);
    return (isAudited(request) ? budgets.changes : budgets.reads).take(keyId);
  };
  app.decorateRequest("failure", null);

  liveRequests(app, connections, (request, reply) => {
    const { method, failure, life } = request;
    const route = request.routeOptions.url ?? "unknown";
    const status = statusOf(request, reply);
    const { bytesIn, bytesOut } = traffic.since(request.raw.socket);
    metrics.requestsOpen.dec();
    metrics.requests.observe({ method, route, status }, life.seconds);
    metrics.requestBytes.inc({ route, direction: "in" }, bytesIn);
    metrics.requestBytes.inc({ route, direction: "out" }, bytesOut);
    if (life.end === "answered" && QUIET.has(route) && failure === null) return;
    if (!mayLog(request, status)) return;
    const ms = Math.round(life.seconds * 10_000) / 10;
    const fields = { method, route, status, end: life.end, ms, bytesIn, bytesOut };
    const line = { ...whoAndWhat(request, route), ...fields };
    // A guest that does not boot is told in full; only what nobody foresaw needs a stack.
    if (failure === null) request.log.info(line, "request");
    else if (failure instanceof ServiceError)
      request.log.warn({ ...line, err: errorText(failure) }, "request");
    else request.log.error({ ...line, err: failure }, "request");
  });
  app.addHook("onRequest", (_request, _reply, done) => {
    metrics.requestsOpen.inc();
    done();
  });
}

/** 101 for a session; undefined for what ended before it had a status. */
function statusOf({ life }: FastifyRequest, reply: FastifyReply): string | number {
  if (life.end === "answered") return reply.statusCode;
  return life.end === "session" ? 101 : (life.end ?? "");
}

/** Whether it is one that changes something, or an agent session. */
const isAudited = ({ keyId, method, routeOptions }: FastifyRequest): boolean =>
  keyId !== "" && (!READING.has(method) || routeOptions.config?.audit === true);

/** Who asked for what: ids and names, no addresses, which may hold anything. */
function whoAndWhat(request: FastifyRequest, route: string): Record<string, unknown> {
  const { keyId, method, params, body } = request;
  const isVolume = route.startsWith("/v1/volumes");
  const id = (params as { id?: string } | undefined)?.id;
  const audit = isAudited(request);
  return {
    ...(audit && { audit, action: `${method} ${route}` }),
    key: keyId || undefined,
    sandbox: request.sandboxId || undefined,
    volume: isVolume && id !== undefined && UUID.test(id) ? id : undefined,
    snapshot: request.snapshotId || undefined,
    forks: request.forkIds ?? undefined,
    name: (request.sandboxName || nameIn(body))?.slice(0, MAX_NAME),
  };
}

/** The name that a create gives. */
function nameIn(body: unknown): string | undefined {
  const name = typeof body === "object" && body !== null && "name" in body ? body.name : undefined;
  return typeof name === "string" ? name : undefined;
}

/** Bytes of each request, told from those of its connection: what came since the request before was over. */
class Traffic {
  private readonly seen = new WeakMap<Socket, { read: number; written: number }>();

  since(socket: Socket): { bytesIn: number; bytesOut: number } {
    const before = this.seen.get(socket) ?? { read: 0, written: 0 };
    const now = { read: socket.bytesRead ?? 0, written: socket.bytesWritten ?? 0 };
    this.seen.set(socket, now);
    return { bytesIn: now.read - before.read, bytesOut: now.written - before.written };
  }
}
