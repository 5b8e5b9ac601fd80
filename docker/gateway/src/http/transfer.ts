import type { FastifyRequest } from "fastify";
import { type Context, holdConnection } from "./routes/context";

export type TransferOptions = {
  /** False for one that is the server's own work alone: then no byte is awaited. */
  moves?: boolean;
};

/**
 * Counts a transfer of a file, which may take hours, as a connection of its key. It is ended when the key is no more,
 * or when no byte has moved for a while.
 * @throws ServiceError 429, or if the client has gone
 */
export function holdTransfer(
  context: Context,
  request: FastifyRequest,
  { moves = true }: TransferOptions = {},
): void {
  const { socket } = request.raw;
  const uploads = request.method === "PUT";
  holdConnection(context, request, () => socket.destroy());
  if (!moves) return;
  // Not the socket's own time-out: that one would stay with the connection's next request.
  let bytes = -1;
  const timer = setInterval(() => {
    const moved = socket.bytesRead + socket.bytesWritten;
    // A file that has come whole still has to get to the disk, which takes no byte of the client's.
    const isWhole = uploads && request.raw.complete;
    if (moved === bytes && !isWhole) socket.destroy();
    bytes = moved;
  }, context.config.TRANSFER_IDLE_SECONDS * 1000);
  request.life.hold(() => clearInterval(timer));
}
