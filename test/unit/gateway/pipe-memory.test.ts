import { EventEmitter } from "node:events";
import { Duplex, PassThrough } from "node:stream";
import * as fc from "fast-check";
import { expect, test } from "vitest";
import type { WebSocket } from "ws";
import { FramesShare } from "../../../docker/gateway/src/http/frames-share";
import { PipeMemory } from "../../../docker/gateway/src/http/pipe-memory";
import { pipe } from "../../../docker/gateway/src/http/web-socket-pipe";

const KIB = 1024;
const TOTAL = 4 * KIB * KIB;
/** What one owner may hold. */
const HALF = TOTAL / 2;

/** A WebSocket whose system takes something when it is told to. */
class Client extends EventEmitter {
  readonly OPEN = 1;
  readonly CLOSED = 3;
  readyState = 1;
  readonly isPaused = false;
  closedWith: number | undefined;
  received = 0;
  private readonly waiting: { length: number; sent: () => void }[] = [];
  bufferedAmount = 0;

  send({ length }: Buffer, _options: object, sent: () => void): void {
    this.bufferedAmount += length;
    this.waiting.push({ length, sent });
  }
  take(): void {
    const { length, sent } = this.waiting.shift() ?? { length: 0, sent: () => undefined };
    this.bufferedAmount -= length;
    this.received += length;
    sent();
  }
  /** As a WebSocket goes: what its system did not take stays in the figure. */
  gone(): void {
    this.readyState = this.CLOSED;
    this.emit("close");
    for (const { sent } of this.waiting.splice(0)) sent();
  }
  pause = () => undefined;
  resume = () => undefined;
  ping = () => undefined;
  terminate = () => undefined;
  close(code: number): void {
    this.closedWith ??= code;
    this.readyState = 2;
  }
}

function opened(memory: PipeMemory, agent: Duplex, owner = "a") {
  const [client, connection] = [new Client(), new PassThrough()];
  const over = pipe(client as unknown as WebSocket, agent, {
    ...{ memory, time: new FramesShare(), owner, connection },
    ...{ fromClient: () => undefined, toClient: () => undefined },
  });
  // As the WebSocket reads it.
  connection.resume();
  const end = async () => {
    client.gone();
    agent.destroy();
    await over;
    await turns(2);
  };
  return { client, connection, agent, end };
}

const turns = async (count: number) => {
  for (let turn = 0; turn < count; turn++) await new Promise(setImmediate);
};

test("clients that read late hold a part of the memory together, however many they are, and each gets all of it", async () => {
  const plans = fc.record({
    count: fc.integer({ min: 2, max: 60 }),
    piece: fc.integer({ min: KIB, max: 12 * KIB }),
  });
  const one = async ({ count, piece }: { count: number; piece: number }) => {
    const memory = new PipeMemory(TOTAL);
    const pipes = Array.from({ length: count }, () => opened(memory, new PassThrough()));
    const pieces = Math.ceil((400 * KIB) / piece);
    for (const { agent } of pipes) for (let sent = 0; sent < pieces; sent++) agent.write(Buffer.alloc(piece));
    await turns(50);
    const held = pipes.reduce((sum, { client }) => sum + client.bufferedAmount, 0);
    expect(memory.bytes).toBeGreaterThan(Math.min(count * 200 * KIB, HALF / 4));
    expect(held).toBeLessThanOrEqual(memory.bytes);
    expect(memory.bytes).toBeLessThanOrEqual(HALF);
    const isWhole = () => pipes.every(({ client }) => client.received === pieces * piece);
    const leaving = opened(memory, new PassThrough());
    leaving.agent.write(Buffer.alloc(piece));
    await turns(5);
    await leaving.end();
    expect(memory.bytes).toBeLessThan(HALF);
    for (let turn = 0; turn < 20_000 && !isWhole(); turn++) {
      for (const { client } of pipes) client.take();
      await turns(1);
    }
    expect(pipes.map(({ client }) => client.closedWith)).toEqual(pipes.map(() => undefined));
    expect(isWhole()).toBe(true);
    expect(memory.bytes).toBe(0);
    await Promise.all(pipes.map(({ end }) => end()));
  };
  const most = { count: 60, piece: 12 * KIB };
  await fc.assert(fc.asyncProperty(plans, one), { numRuns: 8, examples: [[most]], endOnFailure: true });
}, 60_000);

const deaf = () => new Duplex({ read: () => undefined, write: () => undefined });

test.each(["parts of messages", "messages that no sandbox takes"])(
  "small %s count as well",
  async (what) => {
    const plans = fc.record({
      count: fc.integer({ min: 60, max: 200 }),
      length: fc.integer({ min: 40 * KIB, max: 60 * KIB }),
    });
    const one = async ({ count, length }: { count: number; length: number }) => {
      const memory = new PipeMemory(TOTAL);
      const pipes = Array.from({ length: count }, () => opened(memory, deaf()));
      for (const { client, connection } of pipes) {
        // The head of a frame of a MiB, and the beginning of what is in it.
        const part = Buffer.from([0x82, 0xff, 0, 0, 0, 0, 0, 16, 0, 0, 0, 0, 0, 0]);
        if (what === "parts of messages") connection.write(Buffer.concat([part, Buffer.alloc(length)]));
        else client.emit("message", Buffer.alloc(length), true);
      }
      await turns(5);
      const stay = pipes.filter(({ client }) => client.closedWith === undefined);
      expect(stay.length * length).toBeLessThanOrEqual(HALF);
      expect(stay.length * length).toBeGreaterThan(HALF / 2);
      await Promise.all(pipes.map(({ end }) => end()));
      expect(memory.bytes).toBe(0);
    };
    await fc.assert(fc.asyncProperty(plans, one), { numRuns: 5, endOnFailure: true });
  },
  60_000,
);
