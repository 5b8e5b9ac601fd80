import type { FastifyRequest } from "fastify";
import { type Context, holdConnection } from "./routes/context";

/**
 * Counts a transfer of a file, which may take hours, as a connection of its key, and ends it when the key is no more. An
 * upload of which no byte has come for a while is ended, too; an answer that nobody takes ends with its connection, as
 * any other does.
 * @throws ServiceError 429, or if the client has gone
 */
export function holdTransfer(context: Context, request: FastifyRequest): void {
  const { raw, method } = request;
  const { socket } = raw;
  holdConnection(context, request, () => socket.destroy());
  if (method !== "PUT") return;
  // Not the socket's own time-out: that one would stay with the connection's next request.
  let bytes = -1;
  const timer = setInterval(() => {
    // A file that has come whole still has to get to the disk, which takes no byte of the client's.
    if (socket.bytesRead === bytes && !raw.complete) socket.destroy();
    bytes = socket.bytesRead;
  }, context.config.TRANSFER_IDLE_SECONDS * 1000);
  request.life.hold(() => clearInterval(timer));
}
