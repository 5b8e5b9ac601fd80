import type { Server } from "node:http";
import type { Socket } from "node:net";
import { errorText, ServiceError } from "../errors";
import { SharedPlaces } from "../limits/shared-places";

/** The part of all connections that keys share. With that of strangers it leaves an eighth, for those that are closing. */
const SHARE = 5 / 8;

/**
 * Connections that have shown a valid key, WebSockets and those with an answer under way included. No key takes more of
 * them than stay free for others.
 */
export class KeyConnections {
  private places: SharedPlaces | undefined;
  private readonly owned = new WeakSet<Socket>();

  /** @param server with the connections that it takes in all */
  constructor(private readonly server: Pick<Server, "maxConnections">) {}

  /**
   * Gives a connection to the key that is shown on it first, until it is closed.
   * @throws ServiceError 429, and then the connection is to be closed
   */
  take(socket: Socket, keyId: string): void {
    if (this.owned.has(socket) || socket.destroyed) return;
    this.places ??= new SharedPlaces(Math.max(1, this.server.maxConnections * SHARE), "connections");
    try {
      socket.once("close", this.places.take(keyId));
    } catch (error) {
      throw new ServiceError("rateLimited", errorText(error), {
        retryAfterSeconds: 1,
        closeConnection: true,
      });
    }
    this.owned.add(socket);
  }
}
