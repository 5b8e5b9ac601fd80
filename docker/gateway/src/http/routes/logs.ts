import { Readable } from "node:stream";
import * as z from "zod";
import { invalidRequest } from "../../errors";
import { SharedPlaces } from "../../limits/shared-places";
import type { LogCursor, LogEntry } from "../../sandboxes/backend";
import { limited } from "../../sandboxes/fields";
import { decodeCursor, encodeCursor } from "../../sandboxes/log-cursor";
import { errorResponses, idParams, streamOf } from "../schema/common";
import { type App, type Context, findSandbox, holdConnection, typed } from "./context";

const SOURCES = ["stdout", "stderr", "output", "system"];
const DEFAULT_SOURCES = ["stdout", "stderr", "output"];

const params = idParams;
const querystring = z.looseObject({ sources: limited(100).optional() });
const headers = z.looseObject({ "last-event-id": limited(8192).optional() });

/** Log streams of all keys at once: each may hold some hundred KiB for a reader that is behind. */
const MOST_STREAMS = 256;
/** Characters of a stream that are made at once; one line may be more. */
const TEXT_AT_ONCE = 16 * 1024;
/** Those of one sandbox: each reads the whole log. */
const MOST_OF_A_SANDBOX = 16;

/** A sandbox's log as server-sent events, resumable by their ids. */
export function logRoutes(plain: App, context: Context): void {
  const streams = new SharedPlaces(MOST_STREAMS, "log streams");
  const ofSandbox = new Map<string, SharedPlaces>();
  const takeOf = (sandbox: string, keyId: string) => {
    const places = ofSandbox.get(sandbox) ?? new SharedPlaces(MOST_OF_A_SANDBOX, "log streams of a sandbox");
    const giveBack = places.take(keyId);
    ofSandbox.set(sandbox, places);
    return () => {
      giveBack();
      if (places.inUse === 0) ofSandbox.delete(sandbox);
    };
  };
  typed(plain).get(
    "/v1/sandboxes/:id/logs",
    {
      schema: {
        tags: ["sandboxes"],
        params,
        querystring,
        headers,
        response: { 200: streamOf("text/event-stream", "server-sent events"), ...errorResponses },
      },
    },
    async (request, reply) => {
      const sources = readSources(request.query.sources);
      const after = readCursor(request.headers["last-event-id"]);
      const { life } = request;
      holdConnection(context, request, () => request.raw.socket.destroy());
      life.hold(streams.take(request.keyId));
      const sandbox = await findSandbox(context, request, { id: request.params.id });
      life.hold(takeOf(sandbox.id, request.keyId));
      const entries = context.backend.sandboxes.logs(sandbox.id, {
        ...{ sources, after, signal: life.signal, reader: request.keyId },
      });
      const stream = Readable.from(framed(entries, life.signal), { objectMode: false, highWaterMark: 1 });
      // A stream that waits for its file is not ended by its own end: it has to be woken.
      life.hold(() => stream.destroy());
      reply.type("text/event-stream").header("cache-control", "no-cache").header("x-accel-buffering", "no");
      return reply.send(stream);
    },
  );
}

/** The framing of server-sent events: a comment for each time that nothing came for a while, and an end. */
async function* framed(entries: AsyncIterable<LogEntry[]>, left: AbortSignal): AsyncGenerator<string> {
  yield ": log\n\n";
  for await (const some of entries) {
    // What is told already is not held while its reader takes its time.
    const texts = some.length > 0 ? [] : [": ping\n\n"];
    let length = 0;
    for (const entry of some) {
      length += texts[texts.push(eventOf(entry)) - 1]?.length ?? 0;
      if (length < TEXT_AT_ONCE) continue;
      length = 0;
      yield texts.splice(0).join("");
    }
    if (texts.length > 0) yield texts.splice(0).join("");
  }
  if (!left.aborted) yield "event: end\ndata: {}\n\n";
}

function eventOf({ source, ts, text, cursor }: LogEntry): string {
  return `id: ${encodeCursor(cursor)}\nevent: log\ndata: ${JSON.stringify({ source, ts, text })}\n\n`;
}

function readSources(text: string | undefined): Set<string> {
  const sources = text === undefined || text === "" ? DEFAULT_SOURCES : text.split(",");
  const unknown = sources.find((source) => !SOURCES.includes(source));
  if (unknown !== undefined)
    throw invalidRequest(`sources: ${JSON.stringify(unknown)} is none of ${SOURCES.join(", ")}`);
  return new Set(sources);
}

function readCursor(text: string | undefined): LogCursor | undefined {
  if (!text) return undefined;
  const cursor = decodeCursor(text);
  if (cursor === null) throw invalidRequest("last-event-id: not an id of this server");
  return cursor;
}
