import type { Server } from "node:http";
import type { Socket } from "node:net";

/** Answers that may be due on one connection. Clients of the contract ask for one thing at a time. */
const MOST_DUE = 8;

export type Due = {
  /** The connection is closed. Node tells only the first of the answers that wait for their turn. */
  gone: () => void;
};

/**
 * What answers each connection still has to get. A connection that asks for too much at once is closed, and so is one
 * that takes nothing of what is there for it. An upgraded one is no longer looked at.
 */
export class Connections {
  private readonly due = new WeakMap<Socket, Set<Due>>();

  /** @param idleSeconds for which no byte of an answer may move */
  constructor(server: Server, idleSeconds: number) {
    // Also called when the time between two requests is over, and then to close the connection, as Node would itself.
    server.setTimeout(idleSeconds * 1000, (socket) => {
      const answers = [...(this.due.get(socket) ?? [])];
      // An answer may take its time to begin.
      if (answers.length === 0 || socket.writableLength > 0) socket.destroy();
    });
  }

  /** Counts an answer until the function returned is called; undefined if the connection is not served any more. */
  add(socket: Socket, one: Due): (() => void) | undefined {
    if (socket.destroyed) return undefined;
    const answers = this.due.get(socket) ?? this.watch(socket);
    if (answers.size >= MOST_DUE) {
      socket.destroy();
      return undefined;
    }
    answers.add(one);
    return () => void answers.delete(one);
  }

  private watch(socket: Socket): Set<Due> {
    const answers = new Set<Due>();
    this.due.set(socket, answers);
    socket.once("close", () => {
      for (const { gone } of answers) gone();
    });
    return answers;
  }
}
