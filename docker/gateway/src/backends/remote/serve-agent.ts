import type { IncomingMessage } from "node:http";
import { type Duplex, finished } from "node:stream";
import { invalidRequest, type ServiceError } from "../../errors";
import type { MirroredBackend } from "../../sandboxes/changes";
import {
  AGENT_PROTOCOL,
  ARGUMENTS_HEADER,
  checkIdentity,
  type Identity,
  REFUSED,
  SERVER_HEADER,
  sentError,
} from "./wire";

/** Makes a connection one to a sandbox's agent: bytes both ways, each way with an end of its own. */
export async function serveAgent(
  { backend, identity }: { backend: MirroredBackend; identity?: Identity },
  { headers }: IncomingMessage,
  socket: Duplex,
  tell: (error: unknown) => ServiceError,
): Promise<void> {
  const gone = new AbortController();
  const leave = () => gone.abort();
  // Nothing is to come before the answer: it is read for its end alone.
  socket.on("end", leave).on("close", leave).on("data", leave);
  let agent: Duplex;
  try {
    checkIdentity(identity, headers[SERVER_HEADER]);
    const [id] = JSON.parse(Buffer.from(String(headers[ARGUMENTS_HEADER] ?? ""), "base64").toString());
    if (headers.upgrade !== AGENT_PROTOCOL || typeof id !== "string")
      throw invalidRequest(`expected the protocol ${AGENT_PROTOCOL} and the id of a sandbox`);
    agent = await backend.sandboxes.openAgent(id, gone.signal);
  } catch (error) {
    const body = JSON.stringify({ error: sentError(tell(error)) });
    const head = `HTTP/1.1 ${REFUSED} Refused\r\nContent-Length: ${Buffer.byteLength(body)}`;
    return void socket.end(`${head}\r\nConnection: close\r\n\r\n${body}`);
  }
  if (gone.signal.aborted) {
    agent.destroy();
    return void socket.destroy();
  }
  socket.pause().off("end", leave).off("close", leave).off("data", leave);
  socket.write(
    `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: ${AGENT_PROTOCOL}\r\n\r\n`,
  );
  join(socket, agent);
  socket.once("end", () => endWhenSilent(agent));
}

/** Milliseconds. A client that is gone looks like one that has only ended its side, until something is sent to it. */
const SILENT_MS = 10 * 60_000;

function endWhenSilent(agent: Duplex): void {
  const late = setTimeout(() => agent.destroy(), SILENT_MS).unref();
  agent.on("data", () => late.refresh()).once("close", () => clearTimeout(late));
}

/** What comes from one goes to the other, as fast as that takes it; so does an end, and a break ends both. */
function join(one: Duplex, other: Duplex): void {
  for (const [from, to] of [
    [one, other],
    [other, one],
  ] as const) {
    from.pipe(to);
    finished(from, (error) => error && to.destroy());
  }
}
