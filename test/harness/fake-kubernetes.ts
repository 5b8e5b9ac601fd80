import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo, Socket } from "node:net";
import { text } from "node:stream/consumers";

type Metadata = {
  name: string;
  namespace: string;
  uid: string;
  resourceVersion: string;
  creationTimestamp: string;
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
};
export type KubernetesObject = { metadata: Metadata } & Record<string, unknown>;
type Change = { revision: number; collection: string; type: string; object: KubernetesObject };

export type FakeKubernetesOptions = {
  /** PEM; default: plain HTTP. */
  tls?: { cert: string; key: string };
  /** Of every request; default: none is looked at. */
  token?: string;
};

/** A refusal, as the API words it. */
class Refusal extends Error {
  constructor(
    readonly code: number,
    readonly reason: string,
    message: string = reason,
  ) {
    super(message);
  }
}

const PATH = /^(?<collection>\/(?:api\/v1|apis\/[^/]+\/v1)\/namespaces\/[^/]+\/[a-z]+)(?:\/(?<name>[^/]+))?$/;

/**
 * The API of Kubernetes in memory, over HTTP: objects of any kind in namespaces, with one revision that grows with each
 * change, preconditions, merge patches, selectors, pages and watches.
 */
export class FakeKubernetes {
  /** Down: connections are closed at once. Silent: nothing is answered. */
  private state: "up" | "down" | "silent" = "up";
  /** What its clock shows, by this one. */
  clock = (): number => Date.now();
  /** Requests, for example "GET /api/v1/namespaces/x/secrets". */
  readonly asked: string[] = [];
  private readonly objects = new Map<string, Map<string, KubernetesObject>>();
  private history: Change[] = [];
  private revision = 1;
  private compacted = 0;
  private readonly watchers = new Set<(change: Change) => void>();
  private readonly watches = new Set<ServerResponse>();
  private readonly sockets = new Set<Socket>();
  private server!: Server;

  private constructor(readonly options: FakeKubernetesOptions) {}

  static async start(options: FakeKubernetesOptions = {}): Promise<FakeKubernetes> {
    const fake = new FakeKubernetes(options);
    const serve = (request: IncomingMessage, response: ServerResponse) => void fake.serve(request, response);
    fake.server = options.tls ? createTlsServer(options.tls, serve) : createServer(serve);
    fake.server.on("connection", (socket: Socket) => {
      if (fake.state === "down") return void socket.destroy();
      fake.sockets.add(socket);
      socket.once("close", () => fake.sockets.delete(socket));
    });
    fake.server.listen(0, "127.0.0.1");
    await once(fake.server, "listening");
    return fake;
  }

  get url(): string {
    const { port } = this.server.address() as AddressInfo;
    return this.options.tls ? `https://localhost:${port}` : `http://127.0.0.1:${port}`;
  }

  /** From here on it is so; when it goes down, so do its connections. */
  be(state: "up" | "down" | "silent"): void {
    this.state = state;
    if (state === "down") for (const socket of this.sockets) socket.destroy();
  }

  /** What there is of a kind, for example at "/api/v1/namespaces/x/secrets". */
  all = (collection: string): KubernetesObject[] => [...(this.objects.get(collection)?.values() ?? [])];

  /** Ends all watches: by the end of the answer, or by that of the connection. */
  endWatches(how: "cleanly" | "abruptly"): void {
    for (const watch of this.watches) how === "cleanly" ? watch.end() : watch.destroy();
  }

  /** Forgets what was: who watches from before is told 410. */
  compact(): void {
    this.compacted = this.revision;
    this.history = [];
  }

  async close(): Promise<void> {
    this.server.close();
    for (const socket of this.sockets) socket.destroy();
  }

  private async serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? "", "http://fake");
    this.asked.push(`${request.method} ${url.pathname}`);
    response.on("error", () => undefined);
    response.setHeader("date", new Date(this.clock()).toUTCString());
    response.setHeader("content-type", "application/json");
    if (this.state === "silent") return;
    try {
      const { token } = this.options;
      if (token && request.headers.authorization !== `Bearer ${token}`)
        throw new Refusal(401, "Unauthorized");
      const body = JSON.parse((await text(request)) || "null");
      const { collection, name } = PATH.exec(url.pathname)?.groups ?? {};
      if (!collection) throw new Refusal(404, "NotFound");
      if (url.searchParams.has("watch")) return this.watch(collection, url.searchParams, response);
      const [status, answer] = this.answer(request.method ?? "", collection, name, url.searchParams, body);
      response.writeHead(status).end(JSON.stringify(answer));
    } catch (error) {
      const { code, reason, message } =
        error instanceof Refusal ? error : new Refusal(400, "BadRequest", String(error));
      response.writeHead(code).end(JSON.stringify({ kind: "Status", code, reason, message }));
    }
  }

  private answer(
    method: string,
    collection: string,
    name: string | undefined,
    query: URLSearchParams,
    body: KubernetesObject & { preconditions?: { resourceVersion?: string } },
  ): [number, unknown] {
    const found = name === undefined ? undefined : this.objects.get(collection)?.get(name);
    if (name === undefined) {
      if (method === "GET") return [200, this.list(collection, query)];
      if (method !== "POST") throw new Refusal(405, "MethodNotAllowed");
      if (body.metadata.resourceVersion) throw new Refusal(400, "resourceVersion should not be set");
      if (this.objects.get(collection)?.has(body.metadata.name)) throw new Refusal(409, "AlreadyExists");
      return [201, this.write(collection, body, "ADDED")];
    }
    if (!found) throw new Refusal(404, "NotFound", `${name} not found`);
    const expect = (version: string | undefined) => {
      if (version !== undefined && version !== found.metadata.resourceVersion)
        throw new Refusal(409, "Conflict");
    };
    if (method === "GET") return [200, found];
    if (method === "PATCH") {
      expect(body.metadata?.resourceVersion);
      return [200, this.write(collection, merge(found, body) as KubernetesObject, "MODIFIED")];
    }
    if (method !== "DELETE") throw new Refusal(405, "MethodNotAllowed");
    expect(body?.preconditions?.resourceVersion);
    this.write(collection, found, "DELETED");
    return [200, { kind: "Status", status: "Success" }];
  }

  private write(collection: string, object: KubernetesObject, type: string): KubernetesObject {
    this.revision += 1;
    const namespace = collection.split("/").at(-2) ?? "";
    const made = { uid: randomUUID(), creationTimestamp: new Date(this.clock()).toISOString() };
    const metadata = { ...made, ...object.metadata, namespace, resourceVersion: String(this.revision) };
    const written = { ...object, metadata };
    const kind = this.objects.get(collection) ?? new Map();
    this.objects.set(collection, kind);
    if (type === "DELETED") kind.delete(metadata.name);
    else kind.set(metadata.name, written);
    const change = { revision: this.revision, collection, type, object: written };
    this.history.push(change);
    for (const tell of this.watchers) tell(change);
    return written;
  }

  private list(collection: string, query: URLSearchParams): unknown {
    const from = query.get("continue") ?? "";
    const selected = this.all(collection)
      .filter(selector(query))
      .filter(({ metadata }) => metadata.name > from)
      .sort((one, other) => (one.metadata.name < other.metadata.name ? -1 : 1));
    const items = selected.slice(0, Number(query.get("limit") ?? Number.POSITIVE_INFINITY));
    const rest = items.length < selected.length ? { continue: items.at(-1)?.metadata.name } : {};
    const metadata = { resourceVersion: String(this.revision), ...rest };
    return { kind: "List", metadata, items };
  }

  private watch(collection: string, query: URLSearchParams, response: ServerResponse): void {
    const since = Number(query.get("resourceVersion"));
    const fits = selector(query);
    const send = (event: object) => void response.write(`${JSON.stringify(event)}\n`);
    response.writeHead(200).flushHeaders();
    if (since < this.compacted) {
      send({ type: "ERROR", object: { kind: "Status", code: 410, message: "too old resource version" } });
      return void response.end();
    }
    const tell = (change: Change) => {
      const { revision, type, object } = change;
      if (revision > since && change.collection === collection && fits(object)) send({ type, object });
    };
    for (const change of this.history) tell(change);
    this.watchers.add(tell);
    this.watches.add(response);
    response.once("close", () => {
      this.watchers.delete(tell);
      this.watches.delete(response);
    });
    if (query.get("allowWatchBookmarks"))
      send({ type: "BOOKMARK", object: { metadata: { resourceVersion: String(this.revision) } } });
  }
}

/** Of labels and of the name, by equality. */
function selector(query: URLSearchParams): (object: KubernetesObject) => boolean {
  const pairs = (text: string | null) =>
    (text ?? "")
      .split(",")
      .filter(Boolean)
      .map((pair) => pair.split("=") as [string, string]);
  const [labels, fields] = [pairs(query.get("labelSelector")), pairs(query.get("fieldSelector"))];
  return ({ metadata }) =>
    labels.every(([key, value]) => metadata.labels?.[key] === value) &&
    fields.every(([key, value]) => key === "metadata.name" && metadata.name === value);
}

/** RFC 7386. */
function merge(target: unknown, patch: unknown): unknown {
  if (typeof patch !== "object" || patch === null || Array.isArray(patch)) return patch;
  const isObject = typeof target === "object" && target !== null && !Array.isArray(target);
  const result: Record<string, unknown> = isObject ? { ...target } : {};
  for (const [key, value] of Object.entries(patch))
    if (value === null) delete result[key];
    else result[key] = merge(result[key], value);
  return result;
}
