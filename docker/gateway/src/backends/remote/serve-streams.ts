import { once } from "node:events";
import type { IncomingMessage, ServerResponse } from "node:http";
import { pipeline } from "node:stream/promises";
import type { ServiceError } from "../../errors";
import type { WriteOptions } from "../../sandboxes/volume-files";
import { type Folder, filesOf, pathOf, type SentPath } from "./files-wire";
import { HEARTBEAT_MS, type Served, SIZE_HEADER, sentError } from "./wire";

/** A request, and how it is answered. */
export type Exchange = {
  request: IncomingMessage;
  response: ServerResponse;
  served: Served;
  /** The error as a client is told it. */
  tell: (error: unknown) => ServiceError;
};

/** Answers with a line for each item, as fast as they are read, and with the error that ends them. */
export async function sendLines(
  { response, served: { signal }, tell }: Exchange,
  items: AsyncIterable<unknown>,
): Promise<void> {
  response.writeHead(200, { "content-type": "application/x-ndjson" }).flushHeaders();
  const beat = setInterval(() => !response.writableNeedDrain && response.write("\n"), HEARTBEAT_MS);
  try {
    for await (const item of items) {
      if (signal.aborted) return;
      if (!response.write(`${JSON.stringify({ result: item })}\n`)) await once(response, "drain", { signal });
    }
    response.end();
  } catch (error) {
    if (!signal.aborted) response.end(`${JSON.stringify({ error: sentError(tell(error)) })}\n`);
  } finally {
    clearInterval(beat);
  }
}

export type ReadArguments = [folder: Folder, path: SentPath];

/** Answers with a file's content; one that breaks off breaks the connection. */
export async function sendFile({ response, served }: Exchange, [folder, path]: ReadArguments): Promise<void> {
  const files = await filesOf(served, folder);
  const { size, content } = await files.read(pathOf(path));
  if (served.signal.aborted) return void content.destroy();
  response.writeHead(200, { "content-type": "application/octet-stream", [SIZE_HEADER]: size });
  await pipeline(content, response);
}

export type WriteArguments = [folder: Folder, path: SentPath, options: WriteOptions];

/** Milliseconds after which a body is given up of which nothing has come. */
const STALLED_MS = 10 * 60_000;

/** Writes a request's body into a file. */
export async function takeFile(
  { request, served }: Exchange,
  [folder, path, options]: WriteArguments,
): Promise<void> {
  request.setTimeout(STALLED_MS, () => request.destroy());
  const files = await filesOf(served, folder);
  await files.write(pathOf(path), request, options);
}
