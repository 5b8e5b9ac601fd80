import { randomBytes } from "node:crypto";
import { setMaxListeners } from "node:events";
import { createServer, type IncomingMessage, request, type Server, type ServerResponse } from "node:http";
import { type AddressInfo, isIP, type Socket, connect as systemConnect } from "node:net";
import { pipeline } from "node:stream";
import ipaddr from "ipaddr.js";
import { isWithin, RESERVED_RANGES, TRANSLATED_RANGES } from "./ip-ranges";
import { passAnswer } from "./registry-answer";
import { type NamesOptions, RegistryNames } from "./registry-names";
import type { Reach } from "./registry-rules";

export type ProxyOptions = {
  /** How names are looked up. */
  names?: NamesOptions;
  connect?: (port: number, address: string) => Socket;
  /**
   * Ranges that are closed though their addresses are public ones: those of the server's own host. Where it throws, only what
   * the stack names is reached. Default: none.
   */
  closedRanges?: () => string[];
};

/** The proxy as one pull uses it. */
export type Lease = {
  /** What msb's environment needs. */
  env: Record<string, string>;
  /** Whether the pull tried to reach what it may not. */
  refused: () => boolean;
  /** Ends what is still open; from then on nothing passes. */
  end: () => void;
};

type Grant = {
  reach: Reach;
  refused: boolean;
  sockets: Set<Socket>;
  /** Connections that are being made. */
  pending: number;
  owner: symbol;
  ended: AbortController;
};

/** IPv4 addresses in an old form of IPv6 among them. */
const NOT_PUBLIC = [...RESERVED_RANGES, ...TRANSLATED_RANGES, "::/96"];

const CONNECT_TIMEOUT_MS = 10_000;
const MAX_SOCKETS = 256;

/**
 * What every pull goes through: msb's requests to registries, to the token servers that they name and to where they
 * redirect. It connects to public addresses only, none of the host's among them, and to the very address that it looked
 * at, so that no name, redirect or change of DNS leads into the server's own network. What the stack names itself is reached wherever it is.
 * It listens on loopback, and knows each pull by a password of its own.
 */
export class PullProxy {
  private readonly grants = new Map<string, Grant>();
  private readonly names: RegistryNames;
  private readonly server: Server;

  private constructor(private readonly options: Required<ProxyOptions>) {
    this.names = new RegistryNames(options.names);
    this.server = createServer((incoming, answer) => {
      this.forward(incoming, answer).catch(() => answer.destroy());
    });
    this.server.on("connect", (incoming: IncomingMessage, socket: Socket, head: Buffer) => {
      socket.on("error", () => socket.destroy());
      this.tunnel(incoming, socket, head).catch(() => socket.destroy());
    });
  }

  static async open(options: ProxyOptions = {}): Promise<PullProxy> {
    const proxy = new PullProxy({
      names: {},
      connect: (port, address) => systemConnect({ port, host: address }),
      closedRanges: () => [],
      ...options,
    });
    await new Promise<void>((resolve, reject) =>
      proxy.server.once("error", reject).listen(0, "127.0.0.1", resolve),
    );
    proxy.server.unref();
    return proxy;
  }

  lease(reach: Reach): Lease {
    const password = randomBytes(24).toString("hex");
    const grant: Grant = {
      ...{ reach, refused: false, sockets: new Set(), pending: 0 },
      ...{ owner: Symbol("pull"), ended: new AbortController() },
    };
    // Each name that is asked for listens to it.
    setMaxListeners(0, grant.ended.signal);
    this.grants.set(password, grant);
    const { port } = this.server.address() as AddressInfo;
    const url = `http://pull:${password}@127.0.0.1:${port}`;
    return {
      env: { HTTPS_PROXY: url, HTTP_PROXY: url },
      refused: () => grant.refused,
      end: () => {
        this.grants.delete(password);
        end(grant);
      },
    };
  }

  close(): void {
    this.server.close();
    this.server.closeAllConnections();
    for (const grant of this.grants.values()) end(grant);
  }

  /** TLS: what passes is for the registry alone to read. */
  private async tunnel(incoming: IncomingMessage, socket: Socket, head: Buffer): Promise<void> {
    const grant = this.grantOf(incoming);
    if (!grant) return void socket.end("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n");
    const target = new URL(`http://${incoming.url}`);
    const upstream = await this.reach(grant, target, grant.reach.named);
    if (!upstream) return void socket.end("HTTP/1.1 403 Forbidden\r\n\r\n");
    hold(grant, socket);
    socket.write("HTTP/1.1 200 OK\r\n\r\n");
    upstream.write(head);
    // A tunnel ends as a whole: either end's failure or end is the other's.
    pipeline(socket, upstream, socket, () => undefined);
  }

  /** Plain http, of registries alone that the stack says have no TLS. */
  private async forward(incoming: IncomingMessage, answer: ServerResponse): Promise<void> {
    const grant = this.grantOf(incoming);
    if (!grant) return void answer.writeHead(407).end();
    const target = new URL(incoming.url ?? "", "http://none.invalid");
    const upstream = await this.reach(grant, target, grant.reach.plain, true);
    if (!upstream) return void answer.writeHead(403).end();
    const { "proxy-authorization": _password, "proxy-connection": _kept, ...headers } = incoming.headers;
    const asked = request({
      ...{ method: incoming.method, path: `${target.pathname}${target.search}` },
      headers: { ...headers, host: target.host, connection: "close" },
      createConnection: () => upstream,
    });
    passAnswer(asked, answer);
    incoming.pipe(asked);
  }

  /** A connection to where a pull may go; undefined where it may not, or nothing answers there. */
  private async reach(
    grant: Grant,
    { hostname, port }: URL,
    named: Set<string>,
    onlyNamed = false,
  ): Promise<Socket | undefined> {
    const host = hostname.replace(/^\[|\]$/g, "");
    const number = Number(port || 80);
    const isNamed = named.has(`${host}:${number}`);
    const isUsual = number === 443 || number === grant.reach.port;
    if (!isNamed && (onlyNamed || isIP(host) !== 0 || !isUsual)) return refuse(grant);
    if (grant.sockets.size + grant.pending >= MAX_SOCKETS) return undefined;
    grant.pending++;
    try {
      return await this.connect(grant, { host, port: number, isNamed });
    } finally {
      grant.pending--;
    }
  }

  private async connect(
    grant: Grant,
    { host, port, isNamed }: { host: string; port: number; isNamed: boolean },
  ): Promise<Socket | undefined> {
    const { owner, ended } = grant;
    const question = { isNamed, owner, signal: ended.signal };
    const addresses = isIP(host) ? [host] : await this.names.addressesOf(host, question);
    const closed = isNamed ? [] : this.options.closedRanges();
    const open = isNamed ? addresses : addresses.filter((address) => isPublic(address, closed));
    if (open.length === 0) return refuse(grant);
    for (const address of open) {
      const socket = this.options.connect(port, address);
      if (!(await connected(socket))) continue;
      // A pull may end meanwhile.
      if (!ended.signal.aborted) return hold(grant, socket);
      socket.destroy();
      return undefined;
    }
    return undefined;
  }

  private grantOf({ headers }: IncomingMessage): Grant | undefined {
    const [, code = ""] = /^Basic (\S+)$/i.exec(headers["proxy-authorization"] ?? "") ?? [];
    const [, password = ""] = Buffer.from(code, "base64").toString("utf8").split(":");
    return this.grants.get(password);
  }
}

/**
 * Whether an address is one of the public internet's; translators to others are not.
 * @param closed more ranges that are not
 */
export function isPublic(address: string, closed: string[] = []): boolean {
  if (!ipaddr.isValid(address)) return false;
  const plain = ipaddr.process(address);
  const range = `${plain}/${plain.kind() === "ipv4" ? 32 : 128}`;
  return plain.range() === "unicast" && ![...NOT_PUBLIC, ...closed].some((other) => isWithin(range, other));
}

function end({ ended, sockets }: Grant): void {
  ended.abort();
  for (const socket of sockets) socket.destroy();
}

function refuse(grant: Grant): undefined {
  grant.refused = true;
}

function hold(grant: Grant, socket: Socket): Socket {
  grant.sockets.add(socket);
  socket.once("close", () => grant.sockets.delete(socket));
  return socket;
}

function connected(socket: Socket): Promise<boolean> {
  return new Promise((resolve) => {
    const settle = (ok: boolean) => {
      clearTimeout(timer);
      if (!ok) socket.destroy();
      resolve(ok);
    };
    const timer = setTimeout(settle, CONNECT_TIMEOUT_MS, false);
    socket.once("connect", () => settle(true));
    socket.on("error", () => settle(false));
  });
}
