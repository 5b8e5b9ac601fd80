import type { Socket } from "node:net";
import type { FastifyBaseLogger, FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { TokenBuckets } from "../limits/token-buckets";
import type { Connections } from "./connections";
import type { Metrics } from "./metrics";
import { liveRequests } from "./request-life";

declare module "fastify" {
  interface FastifyContextConfig {
    /** The request is one for the audit trail, whatever its method. */
    audit?: boolean;
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
const SUMMARY_MS = 60_000;

/**
 * One log line and one figure for every request when it is over, however it ends: answered, aborted by the client,
 * ended because its key is no more, or an agent session that was closed. Requests that change something, and agent sessions, are
 * lines with `audit: true`.
 */
export function accountForRequests(app: FastifyInstance, metrics: Metrics, connections: Connections): void {
  const traffic = new Traffic();
  const strangers = new StrangerLines(app.log, metrics);
  app.addHook("onClose", async () => strangers.close());

  liveRequests(app, connections, (request, reply) => {
    const { method, key, life } = request;
    const route = request.routeOptions.url ?? "unknown";
    const status = statusOf(request, reply);
    const { bytesIn, bytesOut } = traffic.since(request.raw.socket);
    metrics.requestsOpen.dec();
    metrics.requests.observe({ method, route, status }, life.seconds);
    metrics.requestBytes.inc({ route, direction: "in" }, bytesIn);
    metrics.requestBytes.inc({ route, direction: "out" }, bytesOut);
    if (life.end === "answered" && QUIET.has(route)) return;
    if (!key && !strangers.mayLog()) return;
    const ms = Math.round(life.seconds * 10_000) / 10;
    const fields = { method, route, status, end: life.end, ms, bytesIn, bytesOut };
    request.log.info({ ...whoAndWhat(request, route), ...fields }, "request");
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

/** Who asked for what: ids and names, no addresses, which may hold anything. */
function whoAndWhat(request: FastifyRequest, route: string): Record<string, unknown> {
  const { keyId, method, routeOptions, params, body } = request;
  const isVolume = route.startsWith("/v1/volumes");
  const id = (params as { id?: string } | undefined)?.id;
  const audit = keyId !== "" && (!READING.has(method) || routeOptions.config?.audit === true);
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

/** Lines for requests without a key: so many, and then a sum of the others once a minute. */
class StrangerLines {
  private readonly bucket = new TokenBuckets(1);
  private leftOut = 0;
  private readonly timer: NodeJS.Timeout;

  constructor(
    private readonly log: FastifyBaseLogger,
    private readonly metrics: Metrics,
  ) {
    this.timer = setInterval(() => this.sum(), SUMMARY_MS).unref();
  }

  mayLog(): boolean {
    if (this.bucket.take("all", STRANGERS) === 0) return true;
    this.leftOut += 1;
    this.metrics.linesLeftOut.inc();
    return false;
  }

  close(): void {
    clearInterval(this.timer);
    this.sum();
  }

  private sum(): void {
    if (this.leftOut > 0)
      this.log.warn({ requests: this.leftOut }, "requests without a key that got no line of their own");
    this.leftOut = 0;
  }
}
