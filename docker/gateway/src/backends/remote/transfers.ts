import { request as plainRequest } from "node:http";
import { request as tlsRequest } from "node:https";
import { type Duplex, PassThrough, type Readable } from "node:stream";
import { textOf } from "../../byte-streams";
import { ServiceError } from "../../errors";
import type { WriteOptions } from "../../sandboxes/volume-files";
import type { Connection } from "./connection";
import type { Folder, SentPath } from "./files-wire";
import { nothing } from "./shapes";
import { tlsOptions } from "./transport";
import {
  AGENT_PATH,
  AGENT_PROTOCOL,
  ARGUMENTS_HEADER,
  encodeArguments,
  READ_PATH,
  SIZE_HEADER,
  WRITE_PATH,
} from "./wire";

/** Milliseconds after which a write is given up of which the server takes nothing. */
const STALLED_MS = 10 * 60_000;
/** Bytes of a refusal. */
const REFUSAL_BYTES = 64 * 1024;

/** A file's content, with its size when it was opened. @throws ServiceError as {@link Connection.call} does */
export async function readFile(
  connection: Connection,
  folder: Folder,
  path: SentPath,
  signal?: AbortSignal,
): Promise<{ size: number; content: Readable }> {
  const { timeoutMs } = connection;
  const request = { path: READ_PATH, body: JSON.stringify([folder, path]) };
  const timeouts = { headersTimeout: timeoutMs, bodyTimeout: timeoutMs };
  const response = await connection.transfer(request, timeouts, signal);
  const { statusCode, headers, body } = response;
  const size = Number(headers[SIZE_HEADER]);
  if (statusCode !== 200 || !Number.isSafeInteger(size)) {
    await connection.result(response, nothing, signal);
    throw connection.silent();
  }
  const content = new PassThrough();
  body.on("error", (error) => content.destroy(connection.silent(error)));
  content.on("close", () => body.destroy());
  return { size, content: body.pipe(content) };
}

/**
 * Writes a file, as fast as the server takes it. The content's own errors are passed on.
 * @throws ServiceError as {@link Connection.call} does
 */
export async function writeFile(
  connection: Connection,
  [folder, path, options]: [Folder, SentPath, WriteOptions],
  content: AsyncIterable<Uint8Array>,
  signal?: AbortSignal,
): Promise<void> {
  let broken: { error: unknown } | undefined;
  async function* noting() {
    try {
      yield* content;
    } catch (error) {
      broken = { error };
      throw error;
    }
  }
  const headers = { [ARGUMENTS_HEADER]: encodeArguments([folder, path, options]) };
  const timeouts = { headersTimeout: STALLED_MS, bodyTimeout: connection.timeoutMs };
  try {
    const request = { path: WRITE_PATH, body: noting(), headers };
    await connection.result(await connection.transfer(request, timeouts, signal), nothing, signal);
  } catch (error) {
    throw broken ? broken.error : error;
  }
}

/**
 * A connection to a sandbox's agent.
 * @param signal gives up the attempt; a connection that is made is the caller's
 * @throws ServiceError what the server tells; conflict where the signal aborts before; unavailable
 */
export async function openAgent(connection: Connection, id: string, signal: AbortSignal): Promise<Duplex> {
  const life = connection.during(signal);
  try {
    return await upgraded(connection, id, life.signal);
  } catch (error) {
    if (error instanceof ServiceError || !signal.aborted) return connection.fail(error);
    throw new ServiceError("conflict", "the sandbox was not running in time", { cause: error });
  } finally {
    life.end();
  }
}

function upgraded(connection: Connection, id: string, signal: AbortSignal): Promise<Duplex> {
  const { options } = connection;
  const headers = {
    ...{ connection: "Upgrade", upgrade: AGENT_PROTOCOL, ...connection.headers },
    [ARGUMENTS_HEADER]: encodeArguments([id]),
  };
  return new Promise((resolve, reject) => {
    const request = options.url.startsWith("https:") ? tlsRequest : plainRequest;
    // One of its own, as it lasts; each side of it ends by itself.
    const own = { agent: false, allowHalfOpen: true, signal, ...tlsOptions(connection.tls) };
    const asked = request(new URL(AGENT_PATH, options.url), { headers, ...own });
    asked.on("error", reject);
    asked.on("upgrade", (_response, socket, head) => {
      socket.on("error", () => undefined);
      if (head.length > 0) socket.unshift(head);
      resolve(connection.hold(socket));
    });
    asked.on("response", (response) => {
      const { statusCode = 0 } = response;
      const told = async () =>
        connection.resultOf(await textOf(response, REFUSAL_BYTES), statusCode, nothing);
      told()
        .then(() => Promise.reject(connection.silent()))
        .catch(reject);
    });
    asked.end();
  });
}
