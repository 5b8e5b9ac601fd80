import { EventEmitter } from "node:events";
import { type IncomingMessage, type Server, ServerResponse } from "node:http";
import type { Socket } from "node:net";

/**
 * The upgrade requests of a server, for @fastify/websocket, which listens to them alone. One that comes while an answer
 * is due on its connection ends the connection: the plugin would write a line for it and leave the socket to nobody, so
 * that the server could not be closed.
 */
export function upgradesOf(server: Server): Server {
  const upgrades = new EventEmitter();
  server.on("upgrade", (request: IncomingMessage, socket: Socket, head: Buffer) => {
    if (isFree(request, socket)) upgrades.emit("upgrade", request, socket, head);
    else socket.destroy();
  });
  return upgrades as Server;
}

/** Whether an answer can be given on the connection now. */
function isFree(request: IncomingMessage, socket: Socket): boolean {
  const response = new ServerResponse(request);
  try {
    response.assignSocket(socket);
  } catch {
    return false;
  }
  response.detachSocket(socket);
  return true;
}

/**
 * While an upgrade waits for its answer nobody reads its connection, and the client's leaving would not be seen. Until
 * the function returned is called, the connection is closed when the client ends it, or sends what may only come after
 * the answer (RFC 6455, 4.1). The connection is paused then.
 */
export function closeWithClient(socket: Socket): () => void {
  const close = () => void socket.destroy();
  socket.on("end", close).on("data", close);
  return () => void socket.pause().off("end", close).off("data", close);
}
