import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer, type IncomingMessage, request as plainRequest, type ServerResponse } from "node:http";
import { request as tlsRequest } from "node:https";
import type { AddressInfo, Socket } from "node:net";
import { join } from "node:path";
import { buffer } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";

/**
 * What can become of a request. Before: it does not arrive. After: its answer is lost. Late: it arrives when whoever asked has
 * given up, or is asking again.
 */
export const WAY_FAULTS = [
  ...(["error before", "error after", "cut before", "cut after"] as const),
  ...(["silent before", "silent after", "late"] as const),
] as const;
export type WayFault = (typeof WAY_FAULTS)[number];

export type FaultyProxyOptions = {
  /** What it leads to: an API of Kubernetes. */
  url: string;
  /** Folder with the files `token` and `ca.crt`, where the API wants them. */
  account?: string;
  /** What becomes of the next request; undefined for nothing. */
  fault: (request: IncomingMessage) => WayFault | undefined;
  /** Milliseconds by which a request is late. */
  lateMs?: () => number;
};

/** A way over HTTP to an API, on which things happen. */
export class FaultyProxy {
  private readonly sockets = new Set<Socket>();
  private readonly under = new Set<Promise<void>>();
  private readonly server = createServer((request, response) => {
    const work = this.serve(request, response).catch(() => void response.destroy());
    this.under.add(work);
    void work.finally(() => this.under.delete(work));
  });

  private constructor(private readonly options: FaultyProxyOptions) {}

  static async start(options: FaultyProxyOptions): Promise<FaultyProxy> {
    const proxy = new FaultyProxy(options);
    proxy.server.on("connection", (socket) => {
      proxy.sockets.add(socket);
      socket.once("close", () => proxy.sockets.delete(socket));
    });
    proxy.server.listen(0, "127.0.0.1");
    await once(proxy.server, "listening");
    return proxy;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  /** Resolves when all that is late has arrived. */
  async arrived(): Promise<void> {
    await Promise.all(this.under);
  }

  async close(): Promise<void> {
    this.server.close();
    for (const socket of this.sockets) socket.destroy();
  }

  private async serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    response.on("error", () => undefined);
    const body = await buffer(request);
    const fault = this.options.fault(request);
    if (fault?.endsWith("before")) return fail(fault, response);
    if (fault === "late") await sleep(this.options.lateMs?.() ?? 50);
    const answer = await this.forward(request, body);
    if (fault?.endsWith("after")) {
      await buffer(answer);
      return fail(fault, response);
    }
    response.writeHead(answer.statusCode ?? 500, answer.headers);
    answer.on("error", () => response.destroy()).pipe(response);
    response.once("close", () => answer.destroy());
    if (!response.closed) await once(response, "close");
  }

  private forward({ url: path, method, headers }: IncomingMessage, body: Buffer): Promise<IncomingMessage> {
    const { url, account } = this.options;
    const isTls = url.startsWith("https:");
    const read = (name: string) => account && readFileSync(join(account, name), "utf8").trim();
    const { host: _host, ...rest } = headers;
    const sent = (isTls ? tlsRequest : plainRequest)(new URL(path ?? "", url), {
      method,
      headers: { ...rest, ...(isTls && account && { authorization: `Bearer ${read("token")}` }) },
      ...(isTls && account && { ca: read("ca.crt") }),
    });
    return new Promise((resolve, reject) => {
      sent.once("response", resolve).once("error", reject).end(body);
    });
  }
}

function fail(fault: WayFault, response: ServerResponse): void {
  if (fault.startsWith("cut")) response.destroy();
  if (fault.startsWith("error"))
    response
      .writeHead(500)
      .end(JSON.stringify({ kind: "Status", code: 500, message: "a fault of the test" }));
}
