import { getHeapStatistics } from "node:v8";
import type { FastifyInstance } from "fastify";
import type { SharedPlaces } from "../limits/shared-places";
import "./access-log";
import "./request-life";

/** Bytes of all answers together, where there is memory for them. */
const MOST_BYTES = 128 * 1024 * 1024;
const SHARE_OF_HEAP = 1 / 8;
/** Bytes of an answer that is not counted: the system's own buffers take it, whether its client reads or not. */
const SMALL = 4 * 1024;

/** Bytes of answers for a server with such a heap. */
export const bytesForAnswers = (heap = getHeapStatistics().heap_size_limit): number =>
  Math.min(MOST_BYTES, heap * SHARE_OF_HEAP);

/**
 * Bounds what answers take in memory until their clients have read them: in all, and for each key by half of that. Where
 * there is no room for the answer to a GET, that is 429. What another request has done can't be refused any more: its
 * connection is closed. Streams are not counted: they hold a piece each, and have limits of their own.
 */
export function boundAnswers(app: FastifyInstance, answers: SharedPlaces): void {
  app.addHook("onSend", (request, reply, payload, done) => {
    const isWhole = typeof payload === "string" || Buffer.isBuffer(payload);
    const bytes = isWhole ? Buffer.byteLength(payload) : 0;
    if (bytes <= SMALL) return done(null, payload);
    try {
      request.life.hold(answers.take(request.keyId, bytes));
      done(null, payload);
    } catch (error) {
      if (request.method === "GET" && reply.statusCode < 400) return done(error as Error);
      request.failure = error;
      reply.hijack();
      request.raw.socket.destroy();
    }
  });
}
