import { getHeapStatistics } from "node:v8";
import type { FastifyInstance } from "fastify";
import type { ServiceError } from "../errors";
import type { SharedPlaces } from "../limits/shared-places";
import "./request-life";
import { hasBody, refuseBody } from "./slow-body";

/** Bytes of all bodies together, where there is memory for them: what is made of one takes some times as much. */
const MOST_BYTES = 128 * 1024 * 1024;
const SHARE_OF_HEAP = 1 / 8;
/** What a piece of a body takes beside its bytes. A client may send them one by one. */
const PIECE_BYTES = 256;

/** Bytes of bodies for a server whose bodies may have so many each: one owner can send one whatever its size. */
export const bytesForBodies = (bodyLimit: number, heap = getHeapStatistics().heap_size_limit): number =>
  Math.max(Math.min(MOST_BYTES, heap * SHARE_OF_HEAP), 4 * bodyLimit);

/**
 * Bounds what the bodies of all requests take in memory, from the first byte to the end of the answer: in all, and for
 * each key by half of that. The request whose bytes are too many gets 429, and its connection is closed. Files are not
 * counted, they go to the disk as they come.
 */
export function boundBodies(app: FastifyInstance, bodies: SharedPlaces): void {
  app.addHook("preParsing", (request, reply, payload, done) => {
    const { raw, life, keyId } = request;
    if (request.routeOptions.config.endlessBody || raw.method === "GET" || !hasBody(raw))
      return done(null, payload);
    let counted = 0;
    let taken = 0;
    const count = (piece: Buffer) => {
      counted += piece.length + PIECE_BYTES;
      if (counted <= taken) return;
      // Twice as much each time: a body of many pieces is not many places.
      const more = Math.max(counted - taken, taken);
      try {
        life.hold(bodies.take(keyId, more));
        taken += more;
      } catch (error) {
        raw.off("data", count);
        refuseBody(raw, reply, error as ServiceError);
      }
    };
    // The parser listens before this turn of the event loop ends, so no piece is read without it.
    raw.on("data", count);
    done(null, payload);
  });
}
