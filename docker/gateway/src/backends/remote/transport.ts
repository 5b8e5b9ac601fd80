import {
  type ClientRequest,
  type IncomingHttpHeaders,
  type IncomingMessage,
  Agent as PlainAgent,
  request as plainRequest,
} from "node:http";
import { Agent as TlsAgent, request as tlsRequest } from "node:https";
import { Readable } from "node:stream";

/**
 * PEM: the own certificate with its key, the authority of the server's; and the name that that is for. Default: the host
 * of the URL.
 */
export type ClientCertificates = { cert: string; key: string; ca: string; serverName?: string };

export type Request = {
  path: string;
  body: string | AsyncIterable<Uint8Array>;
  headers?: Record<string, string>;
};
export type Response = { statusCode: number; headers: IncomingHttpHeaders; body: Readable };

/** Milliseconds until an answer begins, and between parts of it that somebody waits for; 0 for no end. */
export type Timeouts = { headersTimeout: number; bodyTimeout: number };

const CONNECT_MS = 5_000;
/** Less than the server's own: a connection that is kept is seldom used while it is being closed. */
const KEEP_ALIVE_MS = 30_000;
const METHOD = "POST";

/** The code of the error of a connection that was not made in time. */
export const CONNECT_TIMEOUT = "CONNECT_TIMEOUT";
/** The code of the error of a request that was given up while it waited for a connection. */
export const NOT_SENT = "NOT_SENT";

/** What a connection is made with, beside the address. */
export function tlsOptions(tls: ClientCertificates | undefined) {
  if (!tls) return {};
  const { serverName: servername, cert, key, ca } = tls;
  return { cert, key, ca, minVersion: "TLSv1.3", ...(servername && { servername }) } as const;
}

/** Requests to one server over connections that are kept alive. */
export class Transport {
  private agent: PlainAgent;
  private readonly send: typeof plainRequest;

  /** @param connections at once; more requests wait. Default: as many as there are requests */
  constructor(
    private readonly url: string,
    /** Of every request. */
    private readonly headers: Record<string, string>,
    tls: ClientCertificates | undefined,
    private readonly connections = Number.POSITIVE_INFINITY,
  ) {
    this.agent = this.agentWith(tls);
    this.send = url.startsWith("https:") ? tlsRequest : plainRequest;
  }

  /** Makes new connections with these. Those in use go on until their answer ends. */
  renew(tls: ClientCertificates): void {
    const { freeSockets } = this.agent;
    this.agent = this.agentWith(tls);
    for (const sockets of Object.values(freeSockets)) for (const socket of sockets ?? []) socket.destroy();
  }

  private agentWith(tls: ClientCertificates | undefined): PlainAgent {
    const { url, connections: maxSockets } = this;
    const options = { keepAlive: true, timeout: KEEP_ALIVE_MS, maxSockets, noDelay: true };
    return url.startsWith("https:")
      ? new TlsAgent({ ...options, ...tlsOptions(tls) })
      : new PlainAgent(options);
  }

  /**
   * Resolves when the answer begins. The signal ends the answer, too; it and the timeouts count also for one that waits for
   * a connection, of which Node's own request would tell nothing before it has one.
   */
  request({ path, body, headers }: Request, timeouts: Timeouts, signal: AbortSignal): Promise<Response> {
    return new Promise((resolve, reject) => {
      const sent = this.send(new URL(path, this.url), {
        ...{ method: METHOD, agent: this.agent, signal },
        headers: { "content-type": "application/json", ...this.headers, ...headers },
      });
      const giveUp = (error: Error) => {
        const isSent = sent.socket && !sent.socket.connecting;
        reject(isSent ? error : Object.assign(error, { code: NOT_SENT }));
        sent.destroy(error);
      };
      const timer = timeoutAfter(timeouts.headersTimeout, () => giveUp(late("the answer")));
      const abort = () => giveUp(new Error("it was given up", { cause: signal.reason }));
      if (signal.aborted) abort();
      signal.addEventListener("abort", abort, { once: true });
      sent.once("close", () => signal.removeEventListener("abort", abort));
      limitConnect(sent);
      sent.once("error", (error) => {
        clearTimeout(timer);
        reject(error);
      });
      sent.once("response", (response) => {
        clearTimeout(timer);
        // Whoever reads it hears of its end by reading; one that nobody reads any more is no error.
        response.on("error", () => undefined);
        limitPauses(response, timeouts.bodyTimeout);
        resolve({ statusCode: response.statusCode ?? 0, headers: response.headers, body: response });
      });
      if (typeof body === "string") sent.end(body);
      else
        Readable.from(body, { objectMode: false })
          .on("error", (error) => sent.destroy(error))
          .pipe(sent);
    });
  }

  /** Ends the connections that are kept. */
  close(): void {
    this.agent.destroy();
  }
}

function limitConnect(sent: ClientRequest): void {
  sent.once("socket", (socket) => {
    if (!socket.connecting) return;
    const error = Object.assign(late("the connection"), { code: CONNECT_TIMEOUT });
    const timer = timeoutAfter(CONNECT_MS, () => sent.destroy(error));
    for (const over of ["connect", "close"]) socket.once(over, () => clearTimeout(timer));
  });
}

/** Ends an answer of which nothing comes for that long although it is waited for. */
function limitPauses(body: IncomingMessage, ms: number): void {
  if (ms === 0) return;
  const { socket } = body;
  let [read, waited] = [socket.bytesRead, 0];
  const step = Math.max(1, ms / 4);
  const timer = setInterval(() => {
    const isWaitedFor = body.readableLength === 0 && !body.isPaused();
    waited = isWaitedFor && socket.bytesRead === read ? waited + step : 0;
    read = socket.bytesRead;
    if (waited >= ms) body.destroy(late("the rest of the answer"));
  }, step).unref();
  body.once("close", () => clearInterval(timer));
}

const timeoutAfter = (ms: number, act: () => void): NodeJS.Timeout | undefined =>
  ms === 0 ? undefined : setTimeout(act, ms);
const late = (what: string) => new Error(`${what} did not come in time`);
