import { randomBytes } from "node:crypto";
import { connect, type NetConnectOpts, type Socket } from "node:net";

/** What the fake agent does with a connection. */
export type Order = "D" | "U" | "E" | "F" | "S";

/**
 * A connection to the fake agent: through the gateway (WebSocket frames), through socat (TCP) or at once (unix
 * socket). All three are the same client: one socket, one preallocated read buffer, frames counted and not copied.
 */
export type Wire = {
  socket: Socket;
  /** The bytes to write for a payload; made once where it is sent many times. */
  encode: (payload: Buffer) => Buffer;
  /** Called with each piece of payload that arrives; the piece lives only as long as the call. */
  onPayload: (take: (piece: Buffer) => void) => void;
  order: (order: Order, amount?: number) => void;
  close: () => void;
};

export type Dial = () => Promise<Wire>;

/** Dials a plain socket. */
export const plainDial =
  (to: NetConnectOpts): Dial =>
  () =>
    open(to, (payload) => payload, plainDecoder);

/** Dials a sandbox's pipe through the gateway. */
export const gatewayDial =
  (port: number, sandboxId: string): Dial =>
  async () => {
    const wire = await open({ host: "127.0.0.1", port }, encodeFrame, frameDecoder);
    await upgrade(wire.socket, wire.take, sandboxId);
    return wire;
  };

type Taker = { current: (piece: Buffer) => void };
type Decoder = (deliver: (piece: Buffer) => void) => (piece: Buffer) => void;

async function open(
  to: NetConnectOpts,
  encode: Wire["encode"],
  decoder: Decoder,
): Promise<Wire & { take: Taker }> {
  // The raw bytes go to `take`: first the handshake's reader, then the decoder.
  let deliver: (piece: Buffer) => void = () => undefined;
  const take: Taker = { current: decoder((piece) => deliver(piece)) };
  const socket = connect({
    ...to,
    onread: {
      buffer: Buffer.allocUnsafe(64 * 1024),
      callback: (length, buffer) => {
        take.current(Buffer.from(buffer.buffer, buffer.byteOffset, length));
        return true;
      },
    },
  });
  socket.setNoDelay(true);
  await new Promise<void>((resolve, reject) => socket.once("connect", resolve).once("error", reject));
  socket.on("error", () => socket.destroy());
  return {
    socket,
    take,
    encode,
    onPayload: (next) => {
      deliver = next;
    },
    order: (order, amount = 0) => {
      const header = Buffer.alloc(9);
      header.write(order, 0, "latin1");
      header.writeBigUInt64BE(BigInt(amount), 1);
      socket.write(encode(header));
    },
    close: () => socket.destroy(),
  };
}

async function upgrade(socket: Socket, take: Taker, sandboxId: string): Promise<void> {
  const decode = take.current;
  await new Promise<void>((resolve, reject) => {
    let head = Buffer.alloc(0);
    take.current = (piece) => {
      head = Buffer.concat([head, piece]);
      const end = head.indexOf("\r\n\r\n");
      if (end < 0) return;
      if (!head.toString("latin1", 0, 13).includes(" 101")) return reject(new Error(head.toString("latin1")));
      take.current = decode;
      if (head.length > end + 4) decode(head.subarray(end + 4));
      resolve();
    };
    socket.once("close", () => reject(new Error(`closed in the handshake: ${head.toString("latin1")}`)));
    const lines = [
      `GET /v1/sandboxes/${sandboxId}/agent HTTP/1.1`,
      ...["Host: localhost", "Authorization: Bearer msb_test", "Connection: Upgrade", "Upgrade: websocket"],
      ...["Sec-WebSocket-Version: 13", `Sec-WebSocket-Key: ${randomBytes(16).toString("base64")}`],
    ];
    socket.write(`${lines.join("\r\n")}\r\n\r\n`);
  });
}

/** One masked binary frame. */
export function encodeFrame(payload: Buffer): Buffer {
  const mask = randomBytes(4);
  const { length } = payload;
  const short = length < 126;
  const header = Buffer.alloc(short ? 2 : length < 65_536 ? 4 : 10);
  header[0] = 0x82;
  header[1] = 0x80 | (short ? length : length < 65_536 ? 126 : 127);
  if (header.length === 4) header.writeUInt16BE(length, 2);
  if (header.length === 10) header.writeBigUInt64BE(BigInt(length), 2);
  const masked = Buffer.from(payload);
  for (let at = 0; at < length; at++) masked[at] = (masked[at] ?? 0) ^ (mask[at & 3] ?? 0);
  return Buffer.concat([header, mask, masked]);
}

const plainDecoder: Decoder = (deliver) => deliver;

/** Walks the server's frames: delivers what is in binary frames, skips the others. */
const frameDecoder: Decoder = (deliver) => {
  let left = 0;
  let wanted = true;
  let header = Buffer.alloc(0);
  return (piece) => {
    for (let at = 0; at < piece.length; ) {
      if (left > 0) {
        const part = piece.subarray(at, at + left);
        left -= part.length;
        at += part.length;
        if (wanted) deliver(part);
        continue;
      }
      // At most ten bytes; a header may be cut anywhere.
      const joined = Buffer.concat([header, piece.subarray(at, at + 10 - header.length)]);
      const short = (joined[1] ?? 0) & 0x7f;
      const size = short < 126 ? 2 : short === 126 ? 4 : 10;
      if (joined.length < 2 || joined.length < size) {
        header = joined;
        return;
      }
      at += size - header.length;
      header = Buffer.alloc(0);
      wanted = ((joined[0] ?? 0) & 0x0f) <= 2;
      left = size === 2 ? short : size === 4 ? joined.readUInt16BE(2) : Number(joined.readBigUInt64BE(2));
    }
  };
};
