import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo, Socket } from "node:net";
import type { Duplex } from "node:stream";
import type { TLSSocket } from "node:tls";
import { textOf } from "../../byte-streams";
import { ConfigError, errorText, invalidRequest, ServiceError } from "../../errors";
import { mostConnections } from "../../limits/descriptors";
import { Strangers } from "../../limits/strangers";
import type { MirroredBackend } from "../../sandboxes/changes";
import { CALLS, isCall } from "./calls";
import { Endings } from "./endings";
import { serveAgent } from "./serve-agent";
import {
  type Exchange,
  type ReadArguments,
  sendFile,
  sendLines,
  takeFile,
  type WriteArguments,
} from "./serve-streams";
import { isStream, STREAMS } from "./streams";
import {
  AGENT_PATH,
  ARGUMENTS_HEADER,
  CALL_PATH,
  checkIdentity,
  type Identity,
  READ_PATH,
  REFUSED,
  SERVER_HEADER,
  STREAM_PATH,
  sentError,
  WRITE_PATH,
} from "./wire";

/** PEM: a certificate with its key, and the authority of those that the other side may have. */
export type Certificates = { cert: string; key: string; ca: string };

export type ServeOptions = {
  /** Default: a free one. */
  port?: number;
  /** Default: 127.0.0.1. */
  host?: string;
  /** Clients need a certificate of its authority, made for clients. Without, only a loopback address is served. */
  tls?: Certificates;
  /** Routers that take this server for another are refused. Default: none is. */
  identity?: Identity;
  log: { error: (what: object, message: string) => void };
  /** Connections at once; more are closed. Default: half of what the gateway's own descriptors allow. */
  connections?: number;
  /** Bytes of a body that holds arguments. Default: 4 MiB, as a create's spec has about one. */
  bodyBytes?: number;
};

export type BackendServer = {
  port: number;
  /** Serves new connections with these; those that are open go on. */
  renew: (tls: Certificates) => void;
  /** Ends all that is under way. */
  close: () => Promise<void>;
};

const BODY_BYTES = 4 * 1024 * 1024;
/** Milliseconds for a client to show its certificate. */
const HANDSHAKE_MS = 10_000;
/** Milliseconds for a request's headers, and for a body of arguments, to arrive. */
const ARRIVES_MS = 30_000;
/** Clients keep theirs for less, so that they seldom use one that is being closed. */
const KEEP_ALIVE_MS = 60_000;
const MOST_HEADERS = 50;
/** A header may hold a file's path as base64. */
const HEADER_BYTES = 32 * 1024;
const CLIENT_USAGE = "1.3.6.1.5.5.7.3.2";

/** Offers a backend to other gateways. @throws ConfigError where everybody could use it */
export async function serveBackend(backend: MirroredBackend, options: ServeOptions): Promise<BackendServer> {
  const { port = 0, host = "127.0.0.1", tls, log } = options;
  if (!tls && host !== "127.0.0.1" && host !== "::1")
    throw new ConfigError(
      `without certificates the backend is served on a loopback address only, not ${host}`,
    );
  const server = tls ? tlsServer(tls) : createServer(LIMITS);
  server.requestTimeout = 0;
  server.maxHeadersCount = MOST_HEADERS;
  server.maxConnections = options.connections ?? Math.ceil(mostConnections() / 2);
  if (tls) boundStrangers(server);
  const endings = new Endings(backend.sandboxes);
  const open = new Set<Duplex>();
  server.on("connection", (socket: Socket) => {
    open.add(socket.on("close", () => open.delete(socket)));
    // One that breaks while nobody reads it is no error of anybody's.
    socket.on("error", () => undefined);
  });
  server.on("request", (request, response) => {
    const tell = (error: unknown) => told(error, request, log);
    const exchange = { request, response, tell, served: { backend, endings, signal: goneSignal(response) } };
    answer(exchange, options).catch((error) => refuse(exchange, error));
  });
  server.on("upgrade", (request: IncomingMessage, socket: Duplex) => {
    const known = request.url === AGENT_PATH;
    const served = { backend, identity: options.identity };
    if (known) void serveAgent(served, request, socket, (error) => told(error, request, log));
    else socket.destroy();
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject).listen(port, host, resolve);
  });
  return {
    port: (server.address() as AddressInfo).port,
    renew: (renewed) =>
      void ("setSecureContext" in server && server.setSecureContext({ ...renewed, ...SECURITY })),
    close: () =>
      new Promise((resolve) => {
        endings.close();
        server.close(() => resolve());
        for (const socket of open) socket.destroy();
      }),
  };
}

const LIMITS = {
  headersTimeout: ARRIVES_MS,
  keepAliveTimeout: KEEP_ALIVE_MS,
  maxHeaderSize: HEADER_BYTES,
  // A machine that is gone without a word is noticed.
  ...{ keepAlive: true, keepAliveInitialDelay: KEEP_ALIVE_MS, noDelay: true },
  allowHalfOpen: true,
};

/** Of new certificates, too. */
const SECURITY = { minVersion: "TLSv1.3" } as const;

function tlsServer(tls: Certificates) {
  const security = { requestCert: true, rejectUnauthorized: true, minVersion: "TLSv1.3" } as const;
  const server = createTlsServer({ ...LIMITS, ...tls, ...security, handshakeTimeout: HANDSHAKE_MS });
  server.prependListener("secureConnection", (socket: TLSSocket) => {
    // A certificate that names no usage at all passes OpenSSL's own check.
    const usages = socket.getPeerCertificate().ext_key_usage as string[] | undefined;
    if (!socket.authorized || !usages?.includes(CLIENT_USAGE)) socket.destroy();
  });
  return server;
}

/** Connections that show no certificate take a part of all: the oldest of them goes first. */
function boundStrangers(server: Server): void {
  const strangers = new Strangers(server, () => undefined);
  server.on("secureConnection", (socket: TLSSocket) => !socket.destroyed && strangers.known(socket));
}

/** Aborts when nobody waits for an answer any more. */
function goneSignal(response: ServerResponse): AbortSignal {
  const gone = new AbortController();
  response.on("close", () => gone.abort());
  // What breaks closes, too.
  response.on("error", () => undefined);
  return gone.signal;
}

/** Does what a request asks for. @throws ServiceError, or what was not foreseen, before anything is answered */
async function answer(exchange: Exchange, { identity, bodyBytes = BODY_BYTES }: ServeOptions): Promise<void> {
  const { request, served } = exchange;
  checkIdentity(identity, request.headers[SERVER_HEADER]);
  const { url = "", method } = request;
  // A page in a browser says so with every POST.
  if (request.headers.origin !== undefined) throw new ServiceError("forbidden", "web pages are not served");
  if (method !== "POST") throw new ServiceError("unsupported", `no ${method} of ${url.slice(0, 100)}`);
  if (url === WRITE_PATH) {
    const args = argumentsOf(
      Buffer.from(String(request.headers[ARGUMENTS_HEADER] ?? ""), "base64").toString(),
    );
    return sendResult(exchange, await takeFile(exchange, args as WriteArguments));
  }
  const late = setTimeout(() => request.destroy(), ARRIVES_MS);
  const body = await textOf(request, bodyBytes)
    .catch((error) => Promise.reject(error instanceof RangeError ? tooLarge(error) : error))
    .finally(() => clearTimeout(late));
  const args = argumentsOf(body);
  if (url === READ_PATH) return sendFile(exchange, args as ReadArguments);
  const [call, stream] = [CALL_PATH, STREAM_PATH].map(
    (path) => url.startsWith(path) && url.slice(path.length),
  );
  // The arguments are those of a router that this server's own authority has signed: types are not checked again.
  type Run<R> = (served: Exchange["served"], ...args: unknown[]) => R;
  if (call && isCall(call))
    return sendResult(exchange, await (CALLS[call].run as Run<Promise<unknown>>)(served, ...args));
  if (stream && isStream(stream))
    return sendLines(exchange, (STREAMS[stream].run as Run<AsyncIterable<unknown>>)(served, ...args));
  throw new ServiceError("unsupported", `the server does not know ${JSON.stringify(url.slice(0, 100))}`);
}

const tooLarge = ({ message }: RangeError) => new ServiceError("tooLarge", message);

function argumentsOf(text: string): unknown[] {
  let args: unknown;
  try {
    args = JSON.parse(text);
  } catch {
    throw invalidRequest("the arguments are not JSON");
  }
  if (!Array.isArray(args)) throw invalidRequest("the arguments are not a list");
  return args;
}

function sendResult({ response }: Exchange, result: unknown): void {
  const text = JSON.stringify({ result });
  const headers = { "content-type": "application/json", "content-length": Buffer.byteLength(text) };
  response.writeHead(200, headers).end(text);
}

/** The error as a client is told it. The text of one that was not foreseen is only in the log. */
function told(error: unknown, request: IncomingMessage, log: ServeOptions["log"]): ServiceError {
  if (error instanceof ServiceError) return error;
  log.error({ err: errorText(error), url: request.url }, "another gateway's request failed");
  return new ServiceError("unavailable", "the server failed; its log says why", { uncertain: true });
}

function refuse({ request, response, tell }: Exchange, error: unknown): void {
  if (response.destroyed || response.headersSent) return void response.destroy();
  const text = JSON.stringify({ error: sentError(tell(error)) });
  response.writeHead(REFUSED, { "content-type": "application/json" }).end(text);
  if (request.complete) return;
  // Closed at once, the answer might not arrive; a client that has it closes.
  request.on("error", () => undefined).resume();
  const late = setTimeout(() => request.destroy(), ARRIVES_MS).unref();
  request.once("close", () => clearTimeout(late));
}
