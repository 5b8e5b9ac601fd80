import { randomBytes } from "node:crypto";
import type { Maker } from "./malformed-requests";
import type { Random } from "./random";

const lines = (path: string, headers: string[], method = "GET"): Buffer =>
  Buffer.from(
    `${[`${method} ${path} HTTP/1.1`, "Host: x", "Authorization: Bearer msb_test", ...headers].join("\r\n")}\r\n\r\n`,
    "latin1",
  );
const key = (): string => `Sec-WebSocket-Key: ${randomBytes(16).toString("base64")}`;
const HANDSHAKE = ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"];

/** Upgrades that must be refused with a status below 500, or closed. */
export const badUpgrade: Maker = (random, { sandboxId }) => {
  const agent = `/v1/sandboxes/${sandboxId}/agent`;
  const bytes = random.pick([
    lines(agent, HANDSHAKE),
    lines(agent, [...HANDSHAKE, "Sec-WebSocket-Key: short"]),
    lines(agent, [...HANDSHAKE, `Sec-WebSocket-Key: ${"k".repeat(5000)}`]),
    lines(agent, ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 99", key()]),
    lines(agent, ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: x", key()]),
    lines(agent, ["Connection: Upgrade", "Upgrade: h2c", "HTTP2-Settings: AAAA"]),
    lines(agent, ["Connection: Upgrade", "Upgrade: \u00ff"]),
    lines(agent, ["Connection: Upgrade", "Upgrade: websocket, h2c", "Sec-WebSocket-Version: 13", key()]),
    lines(agent, ["Upgrade: websocket", "Sec-WebSocket-Version: 13", key(), "Connection: close"]),
    lines(agent, [...HANDSHAKE, key()], "POST"),
    lines(agent, [...HANDSHAKE, key(), "Content-Length: 5"], "PUT"),
    lines("/healthz", [...HANDSHAKE, key()]),
    lines("/v1/sandboxes", [...HANDSHAKE, key()]),
    lines("/none", [...HANDSHAKE, key()]),
    lines("/v1/sandboxes/00000000-0000-4000-8000-000000000000/agent", [...HANDSHAKE, key()]),
    lines("/v1/sandboxes/%00/agent", [...HANDSHAKE, key()]),
    lines("/v1/sandboxes/..%2f..%2fetc/agent", [...HANDSHAKE, key()]),
    lines(agent, [...HANDSHAKE, key(), `X-Big: ${"a".repeat(30_000)}`]),
    lines(agent, [...HANDSHAKE, key(), "Sec-WebSocket-Protocol: \u00ff,,"]),
    lines(agent, [...HANDSHAKE, key(), "Sec-WebSocket-Extensions: permessage-deflate; a=\u0001"]),
  ]);
  return {
    bytes: [bytes, random.pick([Buffer.alloc(0), random.bytes(40)])],
    accept: (statuses) => statuses.every((status) => status < 500 && status !== 101),
  };
};

/** A proper upgrade, then frames that are not. */
export const badFrames: Maker = (random, { sandboxId }) => {
  const open = lines(`/v1/sandboxes/${sandboxId}/agent`, [...HANDSHAKE, key()]);
  return {
    bytes: [open, ...frames(random)],
    afterwards: random.pick(["wait", "end", "break"]),
    accept: (statuses) => statuses.every((status) => status === 101),
  };
};

function frames(random: Random): Buffer[] {
  const payload = random.bytes(random.between(0, 200));
  return random.pick([
    () => [frame(0x81, payload)], // text, not even UTF-8
    () => [frame(0x81, Buffer.from("text")), frame(0x82, payload)],
    () => [frame(0x82, payload, { masked: false })],
    () => [frame(0x82 | random.pick([0x40, 0x20, 0x10, 0x70]), payload)], // reserved bits
    () => [frame(0x80 | random.pick([3, 4, 5, 6, 7, 11, 12, 13, 14, 15]), payload)], // reserved opcodes
    () => [frame(0x09, Buffer.from("cut ping"))],
    () => [frame(0x89, Buffer.alloc(126, 1))], // a ping too long
    () => [frame(0x80, payload)], // a continuation of nothing
    () => [frame(0x02, payload), frame(0x82, payload)], // a new message inside another
    () => [frame(0x82, payload, { length: 2n ** 63n })],
    () => [frame(0x82, payload, { length: 2n ** 62n })],
    () => [frame(0x82, payload, { length: 17n * 1024n * 1024n })], // above the limit
    () => [frame(0x82, payload, { length: BigInt(payload.length + 1) })], // truncated
    () => [frame(0x82, Buffer.alloc(70_000, 1)).subarray(0, random.between(1, 60_000))],
    () => [frame(0x88, Buffer.from([0]))], // half a close code
    () => [frame(0x88, closing(random.pick([0, 999, 1004, 1005, 1006, 1015, 2999, 5000, 65_535])))],
    () => [frame(0x88, Buffer.concat([closing(1000), Buffer.from([0xc3, 0x28])]))],
    () => [frame(0x88, closing(1000)), frame(0x82, payload)], // data after the close
    () => [frame(0x8a, Buffer.from("unasked pong"))],
    () => Array.from({ length: 200 }, () => frame(0x89, Buffer.from("ping"))),
    () => [random.bytes(random.between(1, 400))],
    () => [...frame(0x82, payload)].map((byte) => Buffer.from([byte])),
    () => Array.from({ length: 300 }, () => frame(0x02, Buffer.alloc(0))), // empty fragments
  ])();
}

const closing = (code: number): Buffer => Buffer.from([code >> 8, code & 255]);

/** A frame; its length may lie. */
function frame(
  first: number,
  payload: Buffer,
  { masked = true, length = BigInt(payload.length) } = {},
): Buffer {
  const bit = masked ? 0x80 : 0;
  const lies = length !== BigInt(payload.length);
  const header = lies || length >= 65_536n ? Buffer.alloc(10) : Buffer.alloc(length < 126n ? 2 : 4);
  header[0] = first;
  header[1] = bit | (header.length === 2 ? Number(length) : header.length === 4 ? 126 : 127);
  if (header.length === 4) header.writeUInt16BE(Number(length), 2);
  if (header.length === 10) header.writeBigUInt64BE(length, 2);
  if (!masked) return Buffer.concat([header, payload]);
  const mask = randomBytes(4);
  const body = Buffer.from(payload.map((byte, index) => byte ^ (mask[index & 3] ?? 0)));
  return Buffer.concat([header, mask, body]);
}
