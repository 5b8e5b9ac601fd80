import { setMaxListeners } from "node:events";
import type { Duplex } from "node:stream";
import type * as z from "zod";
import { linesOf, textOf } from "../../byte-streams";
import { ServiceError } from "../../errors";
import { withFirstSignal } from "../../first-signal";
import { type Charged, uncharged } from "../../sandboxes/scope";
import { CALLS, type CallArguments, type CallName, type CallResult } from "./calls";
import { STREAMS, type StreamArguments, type StreamLine, type StreamName } from "./streams";
import {
  type ClientCertificates,
  CONNECT_TIMEOUT,
  NOT_SENT,
  type Request,
  type Response,
  type Timeouts,
  Transport,
} from "./transport";
import {
  type Answer,
  CALL_PATH,
  errorOf,
  HEARTBEAT_MS,
  type Identity,
  SERVER_HEADER,
  STREAM_PATH,
} from "./wire";

export type RemoteOptions = {
  /** What the server is called in errors, for example "server 2". */
  name: string;
  /** For example "https://10.0.0.7:5557". */
  url: string;
  tls?: ClientCertificates;
  /** What it is taken for: another one refuses. Default: whatever is there. */
  identity?: Identity;
  /** Milliseconds for whatever has no deadline of its own. Default: 60,000. */
  timeoutMs?: number;
};

const TIMEOUT_MS = 60_000;
/** Connections for calls that are answered soon; more wait. What may last has its own: it keeps nobody waiting. */
const CALL_CONNECTIONS = 64;
/** Bytes of an answer: a thousand sandboxes with the largest specs that are kept take less. */
const ANSWER_BYTES = 96 * 1024 * 1024;
/** Bytes of a line of a stream, and of an error. */
const LINE_BYTES = 16 * 1024 * 1024;
/** Seconds after which a server that does not answer may be asked again. */
const RETRY_SECONDS = 2;

/** Codes of errors of a kept connection that the server has closed meanwhile. */
const BROKEN = new Set(["ECONNRESET", "EPIPE"]);
/** Codes of errors of a connection that was never made: nothing was asked. */
const NOT_MADE = new Set([
  ...["ECONNREFUSED", "EHOSTUNREACH", "ENETUNREACH", "ENOTFOUND", "EAI_AGAIN", CONNECT_TIMEOUT, NOT_SENT],
  ...["ERR_TLS_CERT_ALTNAME_INVALID", "UNABLE_TO_VERIFY_LEAF_SIGNATURE", "CERT_HAS_EXPIRED"],
]);

/** Connections to a server, kept alive. Whatever is wrong with one is told as `unavailable`, by the server's name. */
export class Connection {
  readonly timeoutMs: number;
  tls: ClientCertificates | undefined;
  /** Of every request. */
  readonly headers: Record<string, string> = {};
  private readonly calls: Transport;
  private readonly streams: Transport;
  private readonly closing = new AbortController();
  private readonly held = new Set<Duplex>();

  constructor(readonly options: RemoteOptions) {
    this.timeoutMs = options.timeoutMs ?? TIMEOUT_MS;
    // All that is under way listens to it.
    setMaxListeners(0, this.closing.signal);
    const { url, tls, identity } = options;
    this.tls = tls;
    if (identity) this.headers = { [SERVER_HEADER]: JSON.stringify(identity) };
    this.calls = new Transport(url, this.headers, tls, CALL_CONNECTIONS);
    this.streams = new Transport(url, this.headers, tls);
  }

  /**
   * @param signal gives it up
   * @param charged reads the answer. Default: nobody counts that
   * @throws ServiceError what the server tells; unavailable; requestTimeout where it was given up
   */
  async call<N extends CallName>(
    name: N,
    args: CallArguments<N>,
    signal?: AbortSignal,
    charged: Charged = uncharged,
  ): Promise<CallResult<N>> {
    const { reads, ms, own, answer } = CALLS[name];
    const request = { path: `${CALL_PATH}${name}`, body: JSON.stringify(args) };
    const transport = own ? this.streams : this.calls;
    const read = (text: string, statusCode: number) => charged(() => this.resultOf(text, statusCode, answer));
    const ask = (first: AbortSignal) => this.ask(transport, request, read, first);
    const asked = withFirstSignal(
      [this.closing.signal, signal],
      (first) => ask(first).catch((error) => (reads && isBroken(error) ? ask(first) : Promise.reject(error))),
      ms ?? this.timeoutMs,
    );
    return (await asked.catch((error) => this.fail(error, signal))) as CallResult<N>;
  }

  private async ask(
    transport: Transport,
    request: Request,
    read: (text: string, statusCode: number) => unknown,
    signal: AbortSignal,
  ): Promise<unknown> {
    const never = { headersTimeout: 0, bodyTimeout: 0 };
    const { statusCode, body } = await transport.request(request, never, signal);
    return read(await textOf(body, ANSWER_BYTES), statusCode);
  }

  /** What a stream tells, until it ends or the signal aborts: then it ends without an error. */
  async *lines<N extends StreamName>(
    name: N,
    args: StreamArguments<N>,
    signal: AbortSignal,
  ): AsyncGenerator<StreamLine<N>> {
    const request = { path: `${STREAM_PATH}${name}`, body: JSON.stringify(args) };
    const { line: shape } = STREAMS[name];
    const timeouts = { headersTimeout: this.timeoutMs, bodyTimeout: 3 * HEARTBEAT_MS };
    const life = this.during(signal);
    try {
      const { statusCode, body } = await this.streams.request(request, timeouts, life.signal);
      for await (const line of linesOf(body, LINE_BYTES))
        yield this.resultOf(line, statusCode, shape) as StreamLine<N>;
      if (statusCode !== 200) throw this.notUnderstood();
    } catch (error) {
      if (!signal.aborted) this.fail(error);
    } finally {
      life.end();
    }
  }

  /**
   * A request of which the body, or that of its answer, is a stream. It lasts until the answer's body is closed.
   * @throws ServiceError as {@link call} does
   */
  async transfer(request: Request, timeouts: Timeouts, signal?: AbortSignal): Promise<Response> {
    const life = this.during(signal);
    try {
      const response = await this.streams.request(request, timeouts, life.signal);
      response.body.once("close", life.end);
      return response;
    } catch (error) {
      life.end();
      return this.fail(error, signal);
    }
  }

  /** The result of a transfer whose answer is none. @throws ServiceError as {@link call} does */
  async result({ statusCode, body }: Response, shape: z.ZodType, signal?: AbortSignal): Promise<unknown> {
    return textOf(body, LINE_BYTES).then(
      (text) => this.resultOf(text, statusCode, shape),
      (error) => this.fail(error, signal),
    );
  }

  /** @throws ServiceError what the server has told; unavailable for what can't be understood */
  resultOf(text: string, statusCode: number, shape: z.ZodType): unknown {
    let answer: Answer | null = null;
    try {
      answer = JSON.parse(text);
    } catch {
      // It is no answer.
    }
    const told = errorOf(answer?.error);
    if (told) throw told;
    const isAnswer = typeof answer === "object" && answer !== null && !answer.error && statusCode === 200;
    if (!isAnswer || !shape.safeParse(answer?.result).success) throw this.notUnderstood();
    return answer?.result;
  }

  /** Whatever has gone wrong, in terms of the service. @throws ServiceError always */
  fail(error: unknown, signal?: AbortSignal): never {
    if (error instanceof ServiceError) throw error;
    if (signal?.aborted)
      throw new ServiceError("requestTimeout", "the request was cancelled before it finished", {
        cause: error,
      });
    throw error instanceof RangeError ? this.notUnderstood(error) : this.silent(error);
  }

  silent = (cause?: unknown): ServiceError => this.unavailable("does not answer", cause);
  private notUnderstood = (cause?: unknown) => this.unavailable("sent an invalid response", cause);
  private unavailable = (what: string, cause: unknown) =>
    new ServiceError("unavailable", `${this.options.name} ${what}`, {
      ...{ retryAfterSeconds: RETRY_SECONDS, cause },
      uncertain: !NOT_MADE.has(codeOf(cause)),
    });

  /** A signal that aborts with that one, or when all ends; until `end`. */
  during(signal?: AbortSignal): { signal: AbortSignal; end: () => void } {
    const life = new AbortController();
    const abort = () => life.abort();
    const all = signal ? [signal, this.closing.signal] : [this.closing.signal];
    for (const each of all) {
      if (each.aborted) abort();
      each.addEventListener("abort", abort, { once: true });
    }
    const end = () => {
      for (const each of all) each.removeEventListener("abort", abort);
    };
    return { signal: life.signal, end };
  }

  /** Makes new connections with these, to a server of the same name; those that are open go on. */
  renew(certificates: Omit<ClientCertificates, "serverName">): void {
    this.tls = { ...certificates, serverName: this.tls?.serverName };
    for (const transport of [this.calls, this.streams]) transport.renew(this.tls);
  }

  /** Ends a stream with all others. */
  hold<T extends Duplex>(stream: T): T {
    if (this.closing.signal.aborted) stream.destroy();
    this.held.add(stream);
    stream.once("close", () => this.held.delete(stream));
    return stream;
  }

  /** Ends all that is under way, and what comes later, too. */
  async close(): Promise<void> {
    this.closing.abort();
    for (const stream of this.held) stream.destroy();
    this.calls.close();
    this.streams.close();
  }
}

const codeOf = (error: unknown): string => (error as NodeJS.ErrnoException)?.code ?? "";
const isBroken = (error: unknown): boolean => BROKEN.has(codeOf(error));
