import type { Socket } from "node:net";
import swagger from "@fastify/swagger";
import websocket from "@fastify/websocket";
import Fastify, { type FastifyError, type FastifyInstance, LogController } from "fastify";
import { jsonSchemaTransform, validatorCompiler } from "fastify-type-provider-zod";
import packageFile from "../../package.json";
import type { Config } from "../config";
import { invalidRequest, ServiceError } from "../errors";
import type { KeyCheck } from "../keys/key-check";
import type { RateLimit } from "../limits/rate-limit";
import { type BrowserGuardOptions, refuseBrowserPages, refuseKeyInAddress } from "./browser-guard";
import { errorBodyOf, sendError, statusOf } from "./errors";
import { acceptJson } from "./json-body";
import type { Metrics } from "./metrics";
import { AGENT_ROUTE } from "./routes/agent";
import { cutOffSlowBodies } from "./slow-body";
import { MIN_TLS } from "./tls";

/** Bytes of one WebSocket message; the clients' own frames are far below. */
const MAX_FRAME = 16 * 1024 * 1024;
/** Asked by machines every few seconds: not worth a line each. */
const QUIET = new Set(["/healthz", "/readyz", "/metrics"]);

/** A fastify server with what all routes share: logs, bodies, errors, the API description. */
export async function createServer(config: Config): Promise<FastifyInstance> {
  const app = Fastify({
    // The types of a server with TLS differ, and nothing here depends on them.
    ...((config.TLS_FILE ? { https: { minVersion: MIN_TLS } } : {}) as object),
    logger: {
      level: config.LOG_LEVEL,
      base: { service: "gateway" },
      timestamp: () => `,"time":"${new Date().toISOString()}"`,
    },
    logController: new LogController({ disableRequestLogging: true }),
    bodyLimit: config.LIMIT_BODY_BYTES,
    forceCloseConnections: true,
    genReqId: () => crypto.randomUUID(),
    routerOptions: { maxParamLength: 1024 },
    clientErrorHandler: refuseBadHttp,
    frameworkErrors: (error, _request, reply) => sendError(error, reply),
  });
  app.setValidatorCompiler(validatorCompiler);
  // Answers are made from typed values; checking each again would cost more than making it.
  app.setSerializerCompiler(() => JSON.stringify);
  acceptJson(app);
  cutOffSlowBodies(app, config.BODY_TIMEOUT_SECONDS);
  app.decorateRequest("key", null);
  app.decorateRequest("keyId", "");
  app.decorateRequest("sandboxId", "");
  app.setErrorHandler((error: FastifyError, request, reply) => {
    // A guest that does not boot is told in full; only what nobody foresaw needs a stack.
    if (error instanceof ServiceError && statusOf(error) >= 500)
      request.log.warn({ err: error.message }, "failed");
    else if (statusOf(error) >= 500) request.log.error({ err: error }, "request failed");
    return sendError(error, reply);
  });
  app.setNotFoundHandler((request) => {
    if (request.url.startsWith("/v1/snapshot"))
      throw new ServiceError("unsupportedRoute", "snapshots are not supported by this server");
    throw new ServiceError("notFound", `no route ${request.method} ${request.url.split("?")[0]}`);
  });
  await app.register(swagger, {
    openapi: {
      openapi: "3.1.0",
      info: { title: "microsandbox-stack gateway", version: packageFile.version },
      components: { securitySchemes: { api_key: { type: "http", scheme: "bearer" } } },
    },
    transform: jsonSchemaTransform,
  });
  await app.register(websocket, {
    options: { maxPayload: MAX_FRAME, perMessageDeflate: false },
    // Mostly frames that break the protocol: the client's fault, so no error of ours and no stack.
    errorHandler: (error, socket, request) => {
      request.log.info({ err: error.message }, "a WebSocket broke");
      socket.terminate();
    },
  });
  app.get("/openapi.json", { schema: { hide: true } }, async () => app.swagger());
  return app;
}

export type GuardOptions = {
  keys: KeyCheck;
  rate: RateLimit;
  metrics: Metrics;
  browsers: BrowserGuardOptions;
};

/** Who asks, whether it asks too often, and one log line and one figure per request. */
export function guard(app: FastifyInstance, { keys, rate, metrics, browsers }: GuardOptions): void {
  app.addHook("onRequest", async (request) => {
    if (request.ws && request.routeOptions.url !== AGENT_ROUTE)
      throw new ServiceError("invalidRequest", "no WebSocket is served here");
    const path = request.url.split("?")[0] ?? "";
    if (!path.startsWith("/v1/") && path !== "/metrics") return;
    refuseBrowserPages(request, browsers);
    refuseKeyInAddress(request.url);
    request.key = keys.identify(request);
    request.keyId = request.key.id;
    rate.take(request.keyId, request.key.limits.requestsPerSecond);
  });
  app.addHook("onResponse", async (request, reply) => {
    const route = request.routeOptions.url ?? "unknown";
    const { method, keyId, sandboxId } = request;
    metrics.requests.observe({ method, route, status: reply.statusCode }, reply.elapsedTime / 1000);
    // Who has no key and asks too often gets no line for each: the log is not his to fill.
    if (QUIET.has(route) || (!keyId && reply.statusCode === 429)) return;
    const sandbox = sandboxId || undefined;
    const ms = Math.round(reply.elapsedTime * 10) / 10;
    request.log.info(
      { key: keyId || undefined, sandbox, method, route, status: reply.statusCode, ms },
      "request",
    );
  });
}

const BAD_HTTP: Record<string, [status: string, message: string]> = {
  HPE_HEADER_OVERFLOW: ["431 Request Header Fields Too Large", "the header fields are too large"],
  ERR_HTTP_REQUEST_TIMEOUT: ["408 Request Timeout", "the request took too long to arrive"],
};

/** Answers what is not even HTTP in the contract's form, and hangs up. */
function refuseBadHttp(error: NodeJS.ErrnoException, socket: Socket): void {
  if (error.code === "ECONNRESET" || !socket.writable) return void socket.destroy();
  const [status, message] = BAD_HTTP[error.code ?? ""] ?? ["400 Bad Request", "not an HTTP request"];
  const body = JSON.stringify(errorBodyOf(invalidRequest(message)));
  const head = `HTTP/1.1 ${status}\r\nContent-Type: application/json\r\nContent-Length: ${body.length}`;
  socket.end(`${head}\r\nConnection: close\r\n\r\n${body}`);
}
