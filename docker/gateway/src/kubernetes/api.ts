import { setMaxListeners } from "node:events";
import { readFile } from "node:fs/promises";
import { type IncomingMessage, Agent as PlainAgent, request as plainRequest } from "node:http";
import { Agent as TlsAgent, request as tlsRequest } from "node:https";
import { join } from "node:path";
import type { FastifyBaseLogger } from "fastify";
import * as z from "zod";
import { linesOf, textOf } from "../byte-streams";
import { withFirstSignal } from "../first-signal";

export type ApiOptions = {
  /** For example "https://kubernetes.default.svc". */
  url: string;
  /** Folder with the files `token` and `ca.crt` of a service account. Kubernetes replaces the token before it expires. */
  account: string;
  /** Milliseconds for an answer; that of a watch has to begin within them. Default: 2,000. */
  callMs?: number;
};

/** The API has answered, and refuses. */
export class ApiError extends Error {
  override name = "ApiError";
  constructor(
    /** The HTTP status. */
    readonly status: number,
    message: string,
  ) {
    super(message);
  }
}

export type Call = {
  method: "GET" | "POST" | "PATCH" | "DELETE";
  path: string;
  body?: object;
};

export type Log = Pick<FastifyBaseLogger, "info" | "warn" | "error">;

export type WatchEvent = { type: string; object: unknown };

const CALL_MS = 2_000;
/** Seconds after which the API ends a watch by itself, and how much later it is given up. */
const WATCH_SECONDS = 240;
const WATCH_SLACK_MS = 15_000;
/** Milliseconds for which the files of the account are not read again. */
const ACCOUNT_MS = 10_000;
/** Milliseconds by which the clocks may differ before that counts: the API tells its time in seconds. */
const SAME_TIME_MS = 3_000;
const CONNECTIONS = 64;
/** Bytes of an answer, and of a line of a watch: an object has 1.5 MiB at most, a page of leases less. */
const ANSWER_BYTES = 16 * 1024 * 1024;

const statusShape = z.object({ message: z.string(), code: z.number().optional() });
const eventShape = z.object({ type: z.string(), object: z.unknown() });

/**
 * The API of Kubernetes: calls and watches, with the token of a service account. It is this small, and no
 * `@kubernetes/client-node`, because that one would be larger than the whole gateway for the seven requests made here.
 */
export class KubernetesApi {
  private readonly isTls: boolean;
  private readonly callMs: number;
  private readonly closing = new AbortController();
  private agent: PlainAgent | undefined;
  private account = { token: "", ca: "", readAt: Number.NEGATIVE_INFINITY };
  private aheadMs = 0;

  constructor(private readonly options: ApiOptions) {
    this.isTls = options.url.startsWith("https:");
    this.callMs = options.callMs ?? CALL_MS;
    // All that is under way listens to it.
    setMaxListeners(0, this.closing.signal);
  }

  /** How far the API's clock is ahead of this one, in milliseconds: what several processes compare is told by the former. */
  get ahead(): number {
    return this.aheadMs;
  }

  /**
   * @returns the object that the API answers with
   * @throws ApiError what it refuses; Error where there is no answer in time
   */
  call = (call: Call, signal?: AbortSignal): Promise<unknown> =>
    withFirstSignal(
      [this.closing.signal, signal],
      async (first) => {
        try {
          return JSON.parse(await textOf(await this.send(call, first), ANSWER_BYTES));
        } catch (error) {
          throw first.aborted ? first.reason : error;
        }
      },
      this.callMs,
      silent,
    );

  /**
   * Resolves when the API has ended the watch.
   * @param path with the query; what a watch needs is added
   * @param use is waited for before the next event
   * @throws what `use` throws; ApiError; Error where the connection is lost, which shows within about ten seconds
   */
  watch(path: string, use: (event: WatchEvent) => Promise<void>, signal: AbortSignal): Promise<void> {
    const query = `watch=1&allowWatchBookmarks=true&timeoutSeconds=${WATCH_SECONDS}`;
    return withFirstSignal(
      [this.closing.signal, signal],
      async (first) => {
        const response = await this.send({ method: "GET", path: `${path}&${query}` }, first);
        // Nothing may come for minutes, also where the other side has gone.
        response.socket.setKeepAlive(true, 1_000);
        for await (const line of linesOf(response, ANSWER_BYTES))
          await use(eventShape.parse(JSON.parse(line)));
      },
      WATCH_SECONDS * 1_000 + WATCH_SLACK_MS,
    );
  }

  /** Ends all that is under way, and what comes later, too. */
  close(): void {
    this.closing.abort();
    this.agent?.destroy();
  }

  private async send({ method, path, body }: Call, signal: AbortSignal): Promise<IncomingMessage> {
    const token = await this.renew();
    signal.throwIfAborted();
    const type = method === "PATCH" ? "application/merge-patch+json" : "application/json";
    const text = body === undefined ? "" : JSON.stringify(body);
    const headers = {
      accept: "application/json",
      // Node sends the body of a DELETE without a length of its own.
      ...(body && { "content-type": type, "content-length": Buffer.byteLength(text) }),
      // Not for everybody on the way to read.
      ...(token && this.isTls && { authorization: `Bearer ${token}` }),
    };
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      const options = { method, headers, agent: this.agent };
      const request = (this.isTls ? tlsRequest : plainRequest)(new URL(path, this.options.url), options);
      // One that waits for a connection would tell nothing of its end before it has one.
      const giveUp = (error: Error) => {
        reject(error);
        request.destroy(error);
      };
      const abort = () => giveUp(signal.reason);
      const timer = setTimeout(() => giveUp(silent()), this.callMs);
      signal.addEventListener("abort", abort, { once: true });
      request.once("close", () => {
        clearTimeout(timer);
        signal.removeEventListener("abort", abort);
      });
      request.once("error", reject);
      request.once("response", (answer) => {
        clearTimeout(timer);
        // Whoever reads it hears of its end by reading.
        answer.on("error", () => undefined);
        resolve(answer);
      });
      request.end(text);
    });
    this.compareClocks(response.headers.date);
    const { statusCode = 0 } = response;
    if (statusCode < 300) return response;
    throw new ApiError(statusCode, messageOf(await textOf(response, ANSWER_BYTES), statusCode));
  }

  /** Reads the account again from time to time. @returns its token */
  private async renew(): Promise<string> {
    const before = this.account.ca;
    if (performance.now() - this.account.readAt > ACCOUNT_MS) {
      const files = ["token", "ca.crt"].map((name) => textIfAny(join(this.options.account, name)));
      const [token, ca] = await Promise.all(files);
      this.account = { token: token?.trim() ?? "", ca: ca ?? "", readAt: performance.now() };
    }
    const { token, ca } = this.account;
    if (!this.agent || ca !== before) {
      const settings = { keepAlive: true, maxSockets: CONNECTIONS };
      this.agent = this.isTls ? new TlsAgent({ ...settings, ...(ca && { ca }) }) : new PlainAgent(settings);
    }
    return token;
  }

  private compareClocks(date: string | undefined): void {
    const ahead = Date.parse(date ?? "") - Date.now();
    if (Number.isFinite(ahead)) this.aheadMs = Math.abs(ahead) < SAME_TIME_MS ? 0 : ahead;
  }
}

function messageOf(text: string, status: number): string {
  try {
    return statusShape.parse(JSON.parse(text)).message;
  } catch {
    return `the Kubernetes API answered with status ${status}`;
  }
}

const silent = () => new Error("the Kubernetes API does not answer");

const textIfAny = (path: string): Promise<string | undefined> =>
  readFile(path, "utf8").catch(() => undefined);

/** Where the Leases of a namespace are. */
export const leasesPath = (namespace: string): string =>
  `/apis/coordination.k8s.io/v1/namespaces/${namespace}/leases`;

/** What the API answers; undefined where it refuses with one of these statuses. @throws ApiError for any other */
export const unless = (statuses: number[], answer: Promise<unknown>): Promise<unknown> =>
  answer.catch((error) => {
    if (error instanceof ApiError && statuses.includes(error.status)) return undefined;
    throw error;
  });
