import type { Server } from "node:http";
import type { Socket } from "node:net";
import { networkOf } from "./networks";

/** The part of all connections that those of one network may have without a key, and those of all networks. */
const SHARE_OF_NETWORK = 1 / 8;
const SHARE_OF_ALL = 1 / 4;

/**
 * Connections that have shown no valid key yet. Of too many the oldest is closed in place of the newest: whoever has a
 * key shows it with the first request. The server's own addresses count as one network like any other, so that strangers
 * can't close the connections of its health check.
 */
export class Strangers {
  /** In the order of their coming, by where they come from and go to: with TLS there are two sockets for one. */
  private readonly networks = new Map<string, Map<string, Socket>>();
  private readonly seen = new WeakSet<Socket>();
  private count = 0;

  /**
   * @param server with the connections that it takes in all
   * @param closed called for each one that is closed for a newer one
   */
  constructor(
    private readonly server: Server,
    private readonly closed: () => void,
  ) {
    server.on("connection", (socket: Socket) => this.add(socket));
  }

  /** The connection has shown a valid key. */
  known(socket: Socket): void {
    if (this.seen.has(socket)) return;
    this.seen.add(socket);
    this.forget(networkOf(socket.remoteAddress ?? ""), nameOf(socket));
  }

  private add(socket: Socket): void {
    const [network, name] = [networkOf(socket.remoteAddress ?? ""), nameOf(socket)];
    const its = this.networks.get(network) ?? new Map<string, Socket>();
    this.networks.set(network, its.set(name, socket));
    this.count += 1;
    socket.once("close", () => this.forget(network, name));
    if (its.size > Math.max(1, this.server.maxConnections * SHARE_OF_NETWORK)) this.closeOldest(its);
    else if (this.count > Math.max(1, this.server.maxConnections * SHARE_OF_ALL))
      this.closeOldest(this.largest());
  }

  private closeOldest(its: Map<string, Socket>): void {
    for (const [name, socket] of its) {
      this.forget(networkOf(socket.remoteAddress ?? ""), name);
      socket.destroy();
      this.closed();
      return;
    }
  }

  private largest(): Map<string, Socket> {
    let found = new Map<string, Socket>();
    for (const its of this.networks.values()) if (its.size > found.size) found = its;
    return found;
  }

  private forget(network: string, name: string): void {
    const its = this.networks.get(network);
    if (!its?.delete(name)) return;
    this.count -= 1;
    if (its.size === 0) this.networks.delete(network);
  }
}

const nameOf = ({ remoteAddress, remotePort, localAddress, localPort }: Socket): string =>
  `${remoteAddress} ${remotePort} ${localAddress} ${localPort}`;
