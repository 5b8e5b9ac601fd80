import type { Duplex } from "node:stream";
import type { WebSocket } from "ws";
import { type FramesShare, Reading } from "./frames-share";
import { PIECE_BYTES, type PipeMemory } from "./pipe-memory";
import { countUnfinished } from "./unfinished-message";

const KIB = 1024;
/** The largest frame of msb's relay, with its length: facts of the agent's protocol. Clients send one a message. */
export const MAX_MESSAGE = 4 * KIB * KIB + 4;
/** Fragments of a message, and reads that one of them comes in: the largest one fits in 2 KiB and 256 bytes each. */
export const MOST_FRAGMENTS = 2 * KIB;
export const MOST_CHUNKS = 16 * KIB;

/** Bytes on their way to a client that does not read, at which the guest is slowed down where there is room for them. */
const HIGH_WATER = 256 * KIB;
/**
 * msb's relay hangs up on a reader that takes nothing for five seconds. What it has for a client that does not read
 * is therefore taken in drips, as long as there is room: enough at a time for its socket to become writable again.
 */
const DRIP = 192 * KIB;
const DRIP_MS = 3_000;
/** Bytes on their way to the client that one pipe may hold: about a minute of drips. */
const MOST_DRIPPED = 4 * KIB * KIB;
/** Bytes that the relay has not taken, at which the client is stopped. */
const SMALL = 64 * KIB;

const PING_MS = 30_000;
/**
 * How long a client may not be heard that is not read, because its sandbox takes nothing, or that was sent something
 * since: one that reads slowly, or not at all for a while, comes to the ping only behind all that.
 */
const MOST_SILENT_MS = 10 * 60_000;
/** What a client gets to take the news that its key is no more, or that the server stops. */
export const FAREWELL_MS = 2_000;
/** What a sandbox gets to take a client's last bytes. */
const LAST_BYTES_MS = 10_000;

/** Ends a pipe whose key is no more: nothing reaches the sandbox from here on, whatever the client does. */
export function endRevoked(client: WebSocket, agent: Duplex): void {
  agent.destroy();
  client.close(1008, "the API key is no longer valid");
  setTimeout(() => client.terminate(), FAREWELL_MS).unref();
}

export type PipeOptions = {
  memory: PipeMemory;
  time: FramesShare;
  /** Whose pipe it is: an owner's pipes share a part of the memory. */
  owner: string;
  /** The connection that the WebSocket is read from. */
  connection: Duplex;
  fromClient: (bytes: number) => void;
  toClient: (bytes: number) => void;
};

/**
 * Joins one WebSocket and one connection to a sandbox's relay: bytes go both ways, unparsed. Whichever side does not
 * take what it is sent stops the other. Resolves when the WebSocket is closed; the sandbox's side is then closed by
 * itself, after the last bytes or after ten seconds.
 */
export function pipe(client: WebSocket, agent: Duplex, options: PipeOptions): Promise<void> {
  const { memory, time, owner, connection } = options;
  const keepalive = keepAlive(client);
  const reading = new Reading(client, keepalive);
  answerPings(client);
  const toClient = readAgent(client, agent, { ...options, keepalive });
  const share = memory.share(owner, () => refuse(client));
  const incoming = countUnfinished(connection, share);
  const charged = time.charge(owner, connection, reading);
  writeAgent(client, agent, { ...options, keepalive, reading });
  return new Promise((done) => {
    client.on("error", () => client.terminate());
    client.on("close", () => {
      toClient.stop();
      keepalive.stop();
      incoming.stop();
      charged.stop();
      endAgent(agent);
      done();
    });
  });
}

/** From the sandbox to the client. */
function readAgent(
  client: WebSocket,
  agent: Duplex,
  { memory, owner, toClient, keepalive }: PipeOptions & { keepalive: ReturnType<typeof keepAlive> },
) {
  const share = memory.share(owner, () => refuse(client));
  let allowed = 0;
  /** Those that the system has not taken. */
  let pieces = 0;
  let heard = false;
  let dripping: NodeJS.Timeout | undefined;

  const drip = () => {
    if (share.bytes + DRIP > MOST_DRIPPED || !memory.hasRoom(owner)) return;
    allowed = DRIP;
    agent.resume();
  };
  const regulate = () => {
    // Of one that is closed the figure stays as it was last.
    const bytes = client.readyState === client.CLOSED ? 0 : client.bufferedAmount;
    const buffered = bytes > 0 ? bytes + pieces * PIECE_BYTES : 0;
    share.set(buffered);
    const most = dripping ? HIGH_WATER / 2 : HIGH_WATER;
    if (buffered === 0 || (buffered < most && memory.hasRoom(owner))) {
      clearInterval(dripping);
      dripping = undefined;
      agent.resume();
    } else {
      dripping ??= setInterval(drip, DRIP_MS).unref();
      if (allowed <= 0) agent.pause();
    }
  };

  agent.on("data", (chunk: Buffer) => {
    heard = true;
    toClient(chunk.length);
    if (client.readyState !== client.OPEN) return;
    allowed -= chunk.length + PIECE_BYTES;
    pieces++;
    keepalive.sent();
    client.send(chunk, { binary: true }, () => {
      pieces--;
      regulate();
    });
    regulate();
  });
  // The relay's end of data ends the WebSocket: that protocol has no half-open state.
  const ended = () =>
    heard ? client.close(1000) : client.close(1013, "the sandbox takes no more connections");
  agent.on("end", ended).on("close", ended);
  agent.on("error", () => client.close(1011, "the sandbox's connection broke"));
  // It may have gone while the WebSocket was being opened.
  if (agent.destroyed || agent.readableEnded) ended();
  return {
    stop: () => {
      clearInterval(dripping);
      share.set(0);
      // What it still has to say has no reader.
      agent.resume();
    },
  };
}

type WriteOptions = PipeOptions & { keepalive: ReturnType<typeof keepAlive>; reading: Reading };

/**
 * From the client to the sandbox. A relay that takes nothing stops the client at once: what waits for it is one
 * message at most and what a read of the connection brought with it.
 */
function writeAgent(
  client: WebSocket,
  agent: Duplex,
  { memory, owner, fromClient, keepalive, reading }: WriteOptions,
): void {
  const share = memory.share(owner, () => refuse(client));
  let held = 0;
  const count = () => share.set(!agent.destroyed && agent.writableLength > 0 ? held : 0);
  client.on("message", (data: Buffer, isBinary: boolean) => {
    keepalive.heard();
    if (!isBinary) return;
    fromClient(data.length);
    if (!agent.writable) return;
    const bytes = data.length + PIECE_BYTES;
    held += bytes;
    const isTaken = agent.write(agent.writableLength > 0 ? onItsOwn(data) : data, () => {
      held -= bytes;
      count();
      if (held <= SMALL / 2) reading.goOn("sandbox");
    });
    count();
    if (!isTaken || share.bytes > SMALL) reading.stop("sandbox");
  });
  // After the client's end its last bytes are waited for, and count for as long.
  agent.once("close", () => share.set(0));
}

/** A small message is a part of all that was read with it: where it has to wait, it is not to hold that. */
function onItsOwn(data: Buffer): Buffer {
  if (data.buffer.byteLength <= data.length + PIECE_BYTES) return data;
  const copy = Buffer.allocUnsafeSlow(data.length);
  data.copy(copy);
  return copy;
}

/** Ends a client whose bytes there is no room for. It may not be read any more, so its answer is not waited for. */
function refuse(client: WebSocket): void {
  client.close(1013, "too much unread data is buffered for this key");
  setTimeout(() => client.terminate(), FAREWELL_MS).unref();
}

/** Answers the newest ping once the last answer is through: one that sends many without reading is owed two. */
function answerPings(client: WebSocket): void {
  let newest: Buffer | undefined;
  let isUnderWay = false;
  const answer = () => {
    const data = newest;
    newest = undefined;
    isUnderWay = data !== undefined && client.readyState === client.OPEN;
    if (isUnderWay) client.pong(data, undefined, answer);
  };
  client.on("ping", (data: Buffer) => {
    newest = data;
    if (!isUnderWay) answer();
  });
}

/** Ends a client that has not answered a ping. One that can't be heard, or is behind with reading, has longer. */
function keepAlive(client: WebSocket) {
  let heardAt = performance.now();
  let isHeard = true;
  let isPaused = false;
  let isSent = false;
  const heard = () => {
    isHeard = true;
    heardAt = performance.now();
    isPaused = false;
    isSent = false;
  };
  client.on("pong", heard);
  const timer = setInterval(() => {
    const isLate = performance.now() - heardAt > MOST_SILENT_MS;
    if (isPaused || isSent ? isLate : !isHeard) client.terminate();
    isHeard = false;
    if (client.readyState === client.OPEN) client.ping();
  }, PING_MS);
  return {
    heard,
    /** The client is not read from now on. */
    paused: () => {
      isPaused = true;
    },
    /** The client has something to read. */
    sent: () => {
      isSent = true;
    },
    stop: () => clearInterval(timer),
  };
}

/** Closes the sandbox's side once it has taken the last bytes. One that takes nothing is not waited for. */
function endAgent(agent: Duplex): void {
  if (agent.destroyed) return;
  const timer = setTimeout(() => agent.destroy(), LAST_BYTES_MS);
  agent.once("close", () => clearTimeout(timer));
  agent.end(() => agent.destroy());
}
