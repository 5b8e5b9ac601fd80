import { watch } from "node:fs";
import { join } from "node:path";
import { Readable } from "node:stream";
import * as z from "zod";
import { decodeCursor, encodeCursor, type LogPosition, LogReader } from "../../backends/msb/log-reader";
import type { SandboxRecord } from "../../backends/msb/sandbox-record";
import { invalidRequest } from "../../errors";
import { limited } from "../../sandboxes/fields";
import { errorResponses, idParams, streamOf } from "../schema/common";
import { type App, type Context, findSandbox, holdConnection, typed } from "./context";

const SOURCES = ["stdout", "stderr", "output", "system"];
const DEFAULT_SOURCES = ["stdout", "stderr", "output"];
const PING_MS = 15_000;
/** The file system's notifications wake a stream; this is for the case that they fail. */
const POLL_MS = 1_000;
/** How old the word on whether the sandbox still runs may be, while a stream waits. */
const STATUS_AGE_MS = 5_000;

const params = idParams;
const querystring = z.looseObject({ sources: limited(100).optional() });
const headers = z.looseObject({ "last-event-id": limited(8192).optional() });

/** A sandbox's log as server-sent events, resumable by their ids. */
export function logRoutes(plain: App, context: Context): void {
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
      const from = readPosition(request.headers["last-event-id"]);
      const record = await findSandbox(context, request, { id: request.params.id });
      const { life } = request;
      holdConnection(context, request, () => request.raw.socket.destroy());
      // A stream that waits for its file is not ended by its own end: it has to be woken.
      const stream = Readable.from(events(context, record, sources, from, life.signal), {
        objectMode: false,
      });
      life.hold(() => stream.destroy());
      reply.type("text/event-stream").header("cache-control", "no-cache").header("x-accel-buffering", "no");
      return reply.send(stream);
    },
  );
}

async function* events(
  { config, sandboxes }: Context,
  { id, name }: SandboxRecord,
  sources: Set<string>,
  from: LogPosition | undefined,
  left: AbortSignal,
): AsyncGenerator<string> {
  const folder = join(config.MSB_HOME, "sandboxes", name, "logs");
  const reader = await LogReader.open(folder, from);
  let pinged = Date.now();
  yield ": log\n\n";
  for (;;) {
    // Asked before the file is read: what was written before the end is then in the file.
    const ended = !(await isAlive(sandboxes.registry, id));
    for await (const entries of reader.read()) {
      const wanted = entries.filter(({ source }) => sources.has(source));
      if (wanted.length > 0) yield wanted.map(eventOf).join("");
    }
    if (ended) {
      yield "event: end\ndata: {}\n\n";
      return;
    }
    if (Date.now() - pinged > PING_MS) {
      pinged = Date.now();
      yield ": ping\n\n";
    }
    await changed(folder, left);
    if (left.aborted) return;
  }
}

function eventOf({ source, ts, text, position }: Parameters<typeof JSON.stringify>[0]): string {
  return `id: ${encodeCursor(position)}\nevent: log\ndata: ${JSON.stringify({ source, ts, text })}\n\n`;
}

async function isAlive(registry: Context["sandboxes"]["registry"], id: string): Promise<boolean> {
  await registry.reconcile(STATUS_AGE_MS);
  const record = registry.get(id);
  return record !== undefined && registry.alive(record);
}

/** Resolves when something in the folder changed, after a second, or when the client has left. */
function changed(folder: string, left: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      left.removeEventListener("abort", done);
      watcher?.close();
      resolve();
    };
    const timer = setTimeout(done, POLL_MS);
    let watcher: ReturnType<typeof watch> | undefined;
    left.addEventListener("abort", done);
    try {
      watcher = watch(folder, done);
      watcher.on("error", done);
    } catch {
      // The folder is not there yet: the timer serves.
    }
  });
}

function readSources(text: string | undefined): Set<string> {
  const sources = text === undefined || text === "" ? DEFAULT_SOURCES : text.split(",");
  const unknown = sources.find((source) => !SOURCES.includes(source));
  if (unknown !== undefined)
    throw invalidRequest(`sources: ${JSON.stringify(unknown)} is none of ${SOURCES.join(", ")}`);
  return new Set(sources);
}

function readPosition(text: string | undefined): LogPosition | undefined {
  if (!text) return undefined;
  const position = decodeCursor(text);
  if (position === null) throw invalidRequest("last-event-id: not an id of this server");
  return position;
}
