import { EventEmitter } from "node:events";
import { connect, type Socket } from "node:net";
import { PassThrough } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import * as fc from "fast-check";
import { beforeAll, describe, expect, test } from "vitest";
import type { WebSocket } from "ws";
import { FramesShare } from "../../../docker/gateway/src/http/frames-share";
import { PipeMemory } from "../../../docker/gateway/src/http/pipe-memory";
import { UnfinishedMessage } from "../../../docker/gateway/src/http/unfinished-message";
import { pipe } from "../../../docker/gateway/src/http/web-socket-pipe";
import { atFileEnd } from "../../harness/file-end";
import { inMemory } from "../../harness/in-memory";
import { fakeAgent, TestGateway, until } from "./harness";

const MIB = 1024 * 1024;
const CONTINUATION = 0x0;
const BINARY = 0x2;
const PONG = 0xa;
const FINAL = 0x80;

let gateway: TestGateway;
let box: string;
/** The sandbox's end of each pipe. */
const agents: Socket[] = [];
beforeAll(async () => {
  gateway = await TestGateway.start();
  box = (await gateway.create("box")).body.id;
  await fakeAgent(gateway.home, "box", (socket) => agents.push(socket.pause().on("error", () => undefined)));
});

/** What the server says that pipes hold. */
async function counted(): Promise<number> {
  const { body } = await gateway.gateway.app.inject({ url: "/metrics", headers: { host: "127.0.0.1" } });
  return Number(/^msb_gateway_pipe_buffer_bytes (\S+)$/m.exec(body)?.[1]);
}

/** A pipe whose frames are written by hand. */
async function dial(): Promise<Socket> {
  const socket = connect(Number(new URL(gateway.url).port), "127.0.0.1").setNoDelay(true);
  atFileEnd(() => socket.destroy());
  socket.on("error", () => undefined);
  const head = [
    `GET /v1/sandboxes/${box}/agent HTTP/1.1`,
    ...["Host: 127.0.0.1", "Authorization: Bearer x", "Connection: Upgrade", "Upgrade: websocket"],
    ...["Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "\r\n"],
  ];
  socket.write(head.join("\r\n"));
  const answer = await new Promise<Buffer>((resolve) => socket.once("data", resolve));
  expect(answer.toString()).toMatch(/^HTTP\/1\.1 101 /);
  return socket.resume();
}

/** A frame of zeros, with a mask of zeros. */
function frame(first: number, length: number): Buffer {
  const head = Buffer.alloc(length < 126 ? 6 : length < 65_536 ? 8 : 14);
  head[0] = first;
  head[1] = 0x80 | (length < 126 ? length : length < 65_536 ? 126 : 127);
  if (length >= 65_536) head.writeUInt32BE(length, 6);
  else if (length >= 126) head.writeUInt16BE(length, 2);
  return Buffer.concat([head, Buffer.alloc(length)]);
}

/** Sends as much as the server reads, in writes of that size. */
async function send(socket: Socket, bytes: Buffer, atOnce: number): Promise<void> {
  for (let at = 0; at < bytes.length && !socket.destroyed; at += atOnce) {
    if (socket.write(bytes.subarray(at, at + atOnce))) continue;
    const goesOn = new Promise((resolve) => socket.once("drain", resolve).once("close", resolve));
    if ((await Promise.race([goesOn, sleep(500, STUCK)])) === STUCK) return;
  }
}
const STUCK = Symbol("stuck");

/** A part that is repeated: a frame with some of the message, and pongs behind it. */
const parts = fc.record({
  length: fc.oneof(fc.integer({ min: 0, max: 20 }), fc.integer({ min: 0, max: 4_000 })),
  pongs: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 600 })),
  pongLength: fc.integer({ min: 0, max: 125 }),
});
const plans = fc.record({
  part: parts,
  times: fc.integer({ min: 50, max: 1_500 }),
  /** Bytes of a write: the server reads pieces about as large. */
  atOnce: fc.constantFrom(7, 100, 1_500, 65_536, 1_000_000),
});
type Plan = { part: { length: number; pongs: number; pongLength: number }; times: number; atOnce: number };
const MOST_SENT = 24 * MIB;

const partOf = (first: number, { length, pongs, pongLength }: Plan["part"]) =>
  Buffer.concat([frame(first, length), ...Array<Buffer>(pongs).fill(frame(FINAL | PONG, pongLength))]);

/** What the count may leave out: what each pipe holds anyway, and what the process does beside. */
const UNCOUNTED = 1.5 * MIB;

describe("what pipes hold is counted by what it takes in memory", () => {
  async function holds(plan: Plan, bytes: Buffer, ...first: Buffer[]): Promise<void> {
    const socket = await dial();
    for (const each of [frame(FINAL | BINARY, 1), ...first]) {
      await send(socket, each, 65_536);
      await sleep(50);
    }
    const before = (await inMemory()) - (await counted());
    await send(socket, bytes, Math.max(plan.atOnce, bytes.length / 20_000));
    await sleep(100);
    const held = (await inMemory()) - before;
    expect(held - (await counted())).toBeLessThan(UNCOUNTED);
    socket.destroy();
    for (const agent of agents.splice(0)) agent.resume();
    await until(async () => (await counted()) === 0, "what it held", 20_000);
  }
  const many = (plan: Plan, first: Buffer, rest: Buffer) => {
    const times = Math.min(plan.times, Math.floor(MOST_SENT / rest.length));
    return Buffer.concat([first, ...Array<Buffer>(times).fill(rest)]);
  };

  test("of a message in fragments, with control frames between them", async () => {
    const worst = { part: { length: 1, pongs: 499, pongLength: 125 }, times: 300, atOnce: 65_536 };
    const one = (plan: Plan) =>
      holds(plan, many(plan, partOf(BINARY, plan.part), partOf(CONTINUATION, plan.part)));
    await fc.assert(fc.asyncProperty(plans, one), { numRuns: 8, examples: [[worst]], endOnFailure: true });
  }, 120_000);

  test("of messages that the sandbox does not take", async () => {
    const worst = { part: { length: 1, pongs: 499, pongLength: 125 }, times: 300, atOnce: 65_536 };
    const one = async (plan: Plan) => {
      const rest = partOf(FINAL | BINARY, plan.part);
      // As much as the sandbox's end reads, and then as many writes as the system holds for it.
      const writes = Buffer.concat(Array<Buffer>(600).fill(frame(FINAL | BINARY, 1)));
      await holds(plan, many(plan, rest, rest), frame(FINAL | BINARY, 65_535), writes);
    };
    await fc.assert(fc.asyncProperty(plans, one), { numRuns: 8, examples: [[worst]], endOnFailure: true });
  }, 120_000);
});

test("a message in more pieces than any client makes of one ends its pipe", async () => {
  const socket = await dial();
  const closed = new Promise((resolve) => socket.once("close", resolve));
  await send(
    socket,
    Buffer.concat([frame(BINARY, 1), ...Array<Buffer>(2_048).fill(frame(CONTINUATION, 1))]),
    5_000,
  );
  await closed;
});

test("a sandbox that speaks in small pieces is stopped sooner by a client that does not read", async () => {
  const sizes = fc.array(fc.integer({ min: 1, max: 600 }), { minLength: 3_000, maxLength: 3_000 });
  await fc.assert(
    fc.asyncProperty(sizes, async (lengths) => {
      // As of a WebSocket whose system takes nothing.
      const client = Object.assign(new EventEmitter(), {
        ...{ OPEN: 1, readyState: 1, bufferedAmount: 0, pieces: 0 },
        send: (piece: Buffer) => {
          client.bufferedAmount += piece.length;
          client.pieces++;
        },
        close: () => undefined,
      });
      const agent = new PassThrough();
      const over = pipe(client as unknown as WebSocket, agent, {
        ...{ memory: new PipeMemory(), time: new FramesShare(), owner: "a", connection: new PassThrough() },
        ...{ fromClient: () => undefined, toClient: () => undefined },
      });
      for (const length of lengths) {
        agent.write(Buffer.alloc(length));
        await new Promise(setImmediate);
      }
      expect(client.bufferedAmount + client.pieces * 485).toBeLessThan(300 * 1024);
      client.emit("close");
      await over;
    }),
    { numRuns: 3, endOnFailure: true },
  );
});

test("nothing is held of messages that are whole, however their frames are cut", () => {
  const opcodes = fc.constantFrom(FINAL | BINARY, FINAL | PONG);
  const lengths = fc.oneof(fc.integer({ min: 0, max: 130 }), fc.integer({ min: 65_530, max: 65_540 }));
  const frames = fc.array(fc.tuple(opcodes, lengths, fc.boolean()), { minLength: 1, maxLength: 12 });
  const cuts = fc.array(fc.integer({ min: 1, max: 70_000 }), { minLength: 1, maxLength: 40 });
  fc.assert(
    fc.property(frames, cuts, (all, sizes) => {
      const whole = all.flatMap(([first, length, isCut]) => {
        if ((first & 0xf) === PONG) return [frame(first, Math.min(length, 125))];
        const rest = isCut ? [frame(FINAL | PONG, 3), frame(FINAL | CONTINUATION, length)] : [];
        return [frame(isCut ? BINARY : first, length), ...rest];
      });
      const [bytes, message] = [Buffer.concat(whole), new UnfinishedMessage()];
      let [held, at] = [0, 0];
      for (let cut = 0; at < bytes.length; cut++) {
        const piece = bytes.subarray(at, at + (sizes[cut % sizes.length] as number));
        held = message.add(piece);
        at += piece.length;
        // What has begun is held, with the piece that it came in.
        if (at < bytes.length && held > 0) expect(held).toBeGreaterThanOrEqual(piece.length);
      }
      expect(held).toBe(0);
    }),
  );
});
