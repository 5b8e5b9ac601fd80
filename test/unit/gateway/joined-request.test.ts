import { createServer, type IncomingMessage } from "node:http";
import { type AddressInfo, connect, type Socket } from "node:net";
import { buffer } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";
import fc from "fast-check";
import { expect, test } from "vitest";
import { JoinedRequest } from "../../../docker/gateway/src/http/joined-request";
import { atFileEnd } from "../../harness/file-end";
import { inMemory } from "../../harness/in-memory";
import { TestGateway } from "./harness";

const KIB = 1024;
function dial(port: number, head: string): Socket {
  const socket = connect(port, "127.0.0.1").setNoDelay(true);
  socket.on("error", () => undefined).resume();
  atFileEnd(() => socket.destroy());
  socket.write(`${head}\r\nHost: 127.0.0.1\r\nAuthorization: Bearer x\r\nTransfer-Encoding: chunked\r\n\r\n`);
  return socket;
}

const chunkOf = (bytes: Buffer) =>
  Buffer.concat([Buffer.from(`${bytes.length.toString(16)}\r\n`), bytes, Buffer.from("\r\n")]);

/** Each way to read a body that there is. */
const READERS: Record<string, (body: IncomingMessage) => Promise<Buffer>> = {
  "as it comes": buffer,
  "by events": (body) =>
    new Promise((resolve, reject) => {
      const pieces: Buffer[] = [];
      body.on("data", (piece) => pieces.push(piece)).once("end", () => resolve(Buffer.concat(pieces)));
      body.once("error", reject);
    }),
  late: async (body) => {
    await sleep(20);
    return buffer(body);
  },
  "slowly, as files are written": async (body) => {
    const pieces: Buffer[] = [];
    for await (const piece of body.iterator({ destroyOnReturn: false })) {
      if (pieces.push(piece) % 8 === 0) await sleep(1);
      else await new Promise(setImmediate);
    }
    return Buffer.concat(pieces);
  },
};

test("a body comes whole and in order, however it is cut and whenever it is read", async () => {
  let received: Promise<Buffer> | undefined;
  let read = buffer as (body: IncomingMessage) => Promise<Buffer>;
  const server = createServer({ IncomingMessage: JoinedRequest }, (request, reply) => {
    received = read(request);
    received.then(() => reply.end());
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  atFileEnd(() => server.close());
  const { port } = server.address() as AddressInfo;
  const plans = fc.record({
    reader: fc.constantFrom(...Object.keys(READERS)),
    chunks: fc.array(
      fc.record({
        length: fc.oneof(fc.integer({ min: 1, max: 3 }), fc.integer({ min: 1, max: 90_000 })),
        times: fc.oneof(fc.constant(1), fc.integer({ min: 1, max: 2_000 })),
      }),
      { maxLength: 6 },
    ),
    atOnce: fc.constantFrom(500, 5_000, 65_536, 1_000_000),
  });
  await fc.assert(
    fc.asyncProperty(plans, async ({ reader, chunks, atOnce }) => {
      read = READERS[reader] ?? buffer;
      let letter = 0;
      const parts = chunks.flatMap(({ length, times }) =>
        Array.from({ length: Math.min(times, Math.ceil(400_000 / length)) }, () =>
          Buffer.alloc(length, 33 + (letter++ % 90)),
        ),
      );
      const bytes = Buffer.concat([...parts.map(chunkOf), Buffer.from("0\r\n\r\n")]);
      const socket = dial(port, "PUT / HTTP/1.1");
      const answered = new Promise((resolve) => socket.once("data", resolve));
      for (let at = 0; at < bytes.length; at += atOnce) {
        if (!socket.write(bytes.subarray(at, at + atOnce)))
          await new Promise((resolve) => socket.once("drain", resolve));
        else await new Promise(setImmediate);
      }
      await answered;
      socket.destroy();
      expect((await received)?.equals(Buffer.concat(parts))).toBe(true);
    }),
    { numRuns: 40, endOnFailure: true },
  );
}, 120_000);

/** Requests whose bodies nobody reads, as long as they wait for their answers. */
const COUNT = 20;

test.each([
  ["many at once", 30_000, 30_000],
  ["one after the other", 4_000, 1],
])(
  "chunks of a byte that wait take about as much memory as they have bytes: %s",
  async (_how, chunks, atOnce) => {
    const gateway = await TestGateway.start();
    const { id } = (await gateway.create("box")).body;
    const sockets = Array.from({ length: COUNT }, () =>
      dial(Number(new URL(gateway.url).port), `GET /v1/sandboxes/${id}/logs HTTP/1.1`),
    );
    await Promise.all(sockets.map((socket) => new Promise((resolve) => socket.once("data", resolve))));
    const some = Buffer.from("1\r\nx\r\n".repeat(atOnce));
    const before = await inMemory();
    for (let sent = 0; sent < chunks; sent += atOnce) {
      for (const socket of sockets) socket.write(some);
      await new Promise(setImmediate);
    }
    await sleep(500);
    const each = ((await inMemory()) - before) / COUNT;
    expect(each).toBeLessThan(chunks + 100 * KIB);
    for (const socket of sockets) socket.destroy();
  },
  60_000,
);
