import type { Socket } from "node:net";
import swagger from "@fastify/swagger";
import websocket from "@fastify/websocket";
import Fastify, { type FastifyError, type FastifyInstance, LogController } from "fastify";
import { jsonSchemaTransform } from "fastify-type-provider-zod";
import packageFile from "../../package.json";
import type { Config } from "../config";
import { invalidRequest, ServiceError } from "../errors";
import { mostConnections } from "../limits/descriptors";
import { SharedPlaces } from "../limits/shared-places";
import { Strangers } from "../limits/strangers";
import { logOptions } from "../log-lines";
import { accountForRequests } from "./access-log";
import { boundAnswers, bytesForAnswers } from "./answer-memory";
import { boundBodies, bytesForBodies } from "./body-memory";
import { Connections } from "./connections";
import { errorBodyOf, sendError, statusOf } from "./errors";
import { JoinedRequest } from "./joined-request";
import { acceptJson } from "./json-body";
import { KeyConnections } from "./key-connections";
import type { Metrics } from "./metrics";
import { MAX_PARAMETER } from "./schema/common";
import { endSlowBodies } from "./slow-body";
import { MIN_TLS } from "./tls";
import { upgradesOf } from "./upgrades";
import { validatorCompiler } from "./validate";
import { FAREWELL_MS, MAX_MESSAGE, MOST_CHUNKS, MOST_FRAGMENTS } from "./web-socket-pipe";

/** Where lines of the log go, each with its line break. */
export type LogStream = { write: (line: string) => void };

/** A fastify server with what all routes share: logs, bodies, errors, the API description. */
export async function createServer(
  config: Config,
  metrics: Metrics,
  logTo?: LogStream,
): Promise<FastifyInstance> {
  const headersTimeout = config.BODY_TIMEOUT_SECONDS * 1000;
  // How often node looks for connections whose headers are late.
  const connectionsCheckingInterval = Math.min(headersTimeout, 5_000);
  const options = { headersTimeout, connectionsCheckingInterval, IncomingMessage: JoinedRequest };
  const app = Fastify({
    // The types of a server with TLS differ, and nothing here depends on them.
    ...((config.TLS_FILE ? { https: { ...options, minVersion: MIN_TLS } } : { http: options }) as object),
    // A file may take hours to arrive; other bodies have slow-body.ts.
    requestTimeout: 0,
    logger: { ...logOptions("gateway", config.LOG_LEVEL), ...(logTo && { stream: logTo }) },
    logController: new LogController({ disableRequestLogging: true }),
    bodyLimit: config.LIMIT_BODY_BYTES,
    forceCloseConnections: true,
    // A HEAD of a stream would have no end, and no client of the contract asks for one.
    exposeHeadRoutes: false,
    genReqId: () => crypto.randomUUID(),
    routerOptions: { maxParamLength: MAX_PARAMETER },
    clientErrorHandler: refuseBadHttp,
    frameworkErrors: (error, request, reply) => {
      // No hook runs for these, not even the one that closes the connection of a refused upgrade.
      if (request.raw.headers.upgrade !== undefined)
        reply.raw.once("finish", () => request.raw.socket.destroySoon());
      return sendError(error, reply);
    },
  });
  // More are closed at once, so that the descriptors that sandboxes and files need are left.
  app.server.maxConnections = mostConnections();
  const dropped = () => metrics.droppedConnections.inc();
  app.server.on("drop", dropped);
  const strangers = new Strangers(app.server, dropped);
  const ofKeys = new KeyConnections(app.server);
  app.addHook("preParsing", async ({ key, raw }, _reply, payload) => {
    if (!key) return payload;
    ofKeys.take(raw.socket, key.id);
    strangers.known(raw.socket);
    return payload;
  });
  accountForRequests(app, metrics, new Connections(app.server, config.TRANSFER_IDLE_SECONDS));
  app.setValidatorCompiler(validatorCompiler);
  // Answers are made from typed values; checking each again would cost more than making it.
  app.setSerializerCompiler(() => JSON.stringify);
  acceptJson(app);
  endSlowBodies(app, config.BODY_TIMEOUT_SECONDS);
  const bodies = new SharedPlaces(bytesForBodies(config.LIMIT_BODY_BYTES), "bytes of requests");
  boundBodies(app, bodies);
  const answers = new SharedPlaces(bytesForAnswers(), "bytes of answers that were not read");
  boundAnswers(app, answers);
  metrics.watchBytes({ bodies: () => bodies.inUse, answers: () => answers.inUse });
  app.decorateRequest("key", null);
  app.decorateRequest("keyId", "");
  app.decorateRequest("checkedSince", 0);
  app.decorateRequest("sandboxId", "");
  app.decorateRequest("sandboxName", "");
  app.decorateRequest("snapshotId", "");
  app.decorateRequest("forkIds", null);
  app.setErrorHandler((error: FastifyError, request, reply) => {
    if (statusOf(error) >= 500) request.failure = error;
    return sendError(error, reply);
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
    options: {
      ...{ maxPayload: MAX_MESSAGE, maxFragments: MOST_FRAGMENTS, maxBufferedChunks: MOST_CHUNKS },
      // web-socket-pipe.ts answers them.
      autoPong: false,
      perMessageDeflate: false,
      server: upgradesOf(app.server),
    },
    // Mostly frames that break the protocol: the client's fault, so no error of ours and no stack.
    errorHandler: (error, socket, request) => {
      request.failure = new ServiceError("invalidRequest", error.message);
      socket.terminate();
    },
  });
  // The plugin has said goodbye to all; who does not answer is not to keep the server from its end.
  app.addHook("preClose", async () => {
    const terminate = () => {
      for (const client of app.websocketServer.clients) client.terminate();
    };
    setTimeout(terminate, FAREWELL_MS).unref();
  });
  return app;
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
