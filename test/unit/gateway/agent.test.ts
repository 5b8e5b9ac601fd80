import { createHash, randomBytes } from "node:crypto";
import type { AddressInfo, Socket } from "node:net";
import { Duplex, PassThrough } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { beforeAll, describe, expect, test } from "vitest";
import WebSocket, { WebSocketServer } from "ws";
import { FramesShare } from "../../../docker/gateway/src/http/frames-share";
import { PipeMemory } from "../../../docker/gateway/src/http/pipe-memory";
import { MAX_MESSAGE, pipe } from "../../../docker/gateway/src/http/web-socket-pipe";
import { atFileEnd } from "../../harness/file-end";
import { fakeAgent, TestGateway, until } from "./harness";

let gateway: TestGateway;
beforeAll(async () => {
  gateway = await TestGateway.start();
});

const dial = (id: string, options: object = {}) =>
  new WebSocket(`${gateway.url.replace("http", "ws")}/v1/sandboxes/${id}/agent`, {
    headers: { authorization: "Bearer x" },
    perMessageDeflate: false,
    ...options,
  });

/** A running sandbox whose agent does that, and an open WebSocket to it. */
async function connected(name: string, serve: (socket: Socket) => void) {
  const { body } = await gateway.create(name);
  await fakeAgent(gateway.home, name, serve);
  const client = dial(body.id);
  const words: string[] = [];
  client.on("message", (data: Buffer) => words.push(data.length < 100 ? data.toString() : ""));
  await new Promise((resolve, reject) => client.once("open", resolve).once("error", reject));
  return { client, words };
}

const closed = (client: WebSocket) => new Promise<number>((resolve) => client.once("close", resolve));

/** The status with which an upgrade is refused. */
const refused = (client: WebSocket) =>
  new Promise<number>((resolve, reject) => {
    client.once("unexpected-response", (_request, response) => resolve(response.statusCode ?? 0));
    client.once("open", () => reject(new Error("was let in")));
  });

describe("agent pipe", () => {
  test("carries bytes both ways, whatever the frames", async () => {
    const { client } = await connected("echo", (socket) => socket.pipe(socket));
    const data = randomBytes(8 * 1024 * 1024);
    const hash = createHash("sha256");
    let received = 0;
    const done = new Promise<void>((resolve) =>
      client.on("message", (chunk: Buffer) => {
        hash.update(chunk);
        received += chunk.length;
        if (received === data.length) resolve();
      }),
    );
    for (let at = 0; at < data.length; ) {
      const size = [1, 100, 65_536, 1_000_000][at % 4] ?? 1;
      client.send(data.subarray(at, at + size));
      at += size;
    }
    await done;
    expect(hash.digest("hex")).toBe(createHash("sha256").update(data).digest("hex"));
    client.close();
  });

  test("ignores text", async () => {
    const { client } = await connected("text", (socket) => socket.pipe(socket));
    client.send("text");
    client.send(Buffer.from("binary"));
    const [message] = await new Promise<Buffer[]>((resolve) =>
      client.once("message", (...all) => resolve(all as Buffer[])),
    );
    expect(message?.toString()).toBe("binary");
    client.close();
  });

  test("a client that does not read stops the guest", async () => {
    let written = 0;
    const { client } = await connected("flood", (socket) => {
      const chunk = Buffer.alloc(64 * 1024);
      const more = () => {
        while (written < 256 * 1024 * 1024) {
          written += chunk.length;
          if (!socket.write(chunk)) return;
        }
      };
      // The server holds a connection of its own, which it reads: only the client's is asked to send.
      socket
        .on("drain", more)
        .on("error", () => undefined)
        .once("data", more);
    });
    client.pause();
    client.send(Buffer.from("go"));
    await sleep(300);
    const stalledAt = written;
    await sleep(200);
    expect(written).toBe(stalledAt);
    // What the system's and both ends' own buffers hold, and no more.
    expect(written).toBeLessThan(24 * 1024 * 1024);
    let received = 0;
    client.on("message", (chunk: Buffer) => {
      received += chunk.length;
    });
    client.resume();
    await until(() => received > stalledAt + 1024 * 1024, "the flow to go on");
    client.terminate();
  });

  test("a guest that does not read stops the client", async () => {
    const sockets: Socket[] = [];
    const { client } = await connected("stall", (socket) => {
      socket.pause();
      sockets.push(socket);
    });
    const chunk = Buffer.alloc(64 * 1024);
    for (let sent = 0; sent < 64 * 1024 * 1024; sent += chunk.length) client.send(chunk);
    await sleep(400);
    expect(client.bufferedAmount).toBeGreaterThan(40 * 1024 * 1024);
    let read = 0;
    for (const socket of sockets)
      socket.on("data", (data) => {
        read += data.length;
      });
    for (const socket of sockets) socket.resume();
    await until(() => read === 64 * 1024 * 1024, "the rest", 50_000);
    client.terminate();
  });

  test("ends when the sandbox's side ends, after its last bytes", async () => {
    const { client, words } = await connected("ends", (socket) => socket.end("last words"));
    expect(await closed(client)).toBe(1000);
    expect(words.join("")).toBe("last words");
  });

  test("the client's close ends the sandbox's side, after its last bytes", async () => {
    let heard = "";
    const ended = new Promise<void>((resolve) => {
      connected("closes", (socket) =>
        socket
          .on("data", (data) => {
            heard += data;
          })
          .on("end", () => resolve()),
      ).then(({ client }) => {
        client.send(Buffer.from("bye"));
        client.close();
      });
    });
    await ended;
    expect(heard).toBe("bye");
  });

  test("refuses before the upgrade: unknown, not running, without an upgrade", async () => {
    expect(await refused(dial("00000000-0000-4000-8000-00000000dead"))).toBe(404);
    const { body } = await gateway.create("asleep");
    await gateway.post(`/v1/sandboxes/${body.id}/stop`);
    expect(await refused(dial(body.id))).toBe(409);
    expect((await gateway.get(`/v1/sandboxes/${body.id}/agent`)).status).toBe(400);
  });

  test("takes a frame as large as the relay's own; a larger one closes that pipe and no other", async () => {
    const one = await connected("huge", (socket) => socket.pipe(socket));
    const other = await connected("other", (socket) => socket.pipe(socket));
    const largest = 4 * 1024 * 1024 + 4;
    let received = 0;
    one.client.on("message", (data: Buffer) => {
      received += data.length;
    });
    one.client.send(Buffer.alloc(largest));
    await until(() => received === largest, "the largest frame");
    one.client.send(Buffer.alloc(largest + 1));
    expect(await closed(one.client)).toBe(1009);
    other.client.send(Buffer.from("still here"));
    await new Promise((resolve) => other.client.once("message", resolve));
    other.client.close();
  });

  test("a relay that hangs up at once, as one without a free place does, is told with a reason", async () => {
    const { client } = await connected("full", (socket) => socket.destroy());
    expect(await closed(client)).toBe(1013);
  });

  test("more pipes than a sandbox's relay takes are refused with a status; an end makes room", async () => {
    const { body } = await gateway.create("many");
    await fakeAgent(gateway.home, "many", (socket) => socket.on("error", () => undefined).pipe(socket));
    const clients = Array.from({ length: 127 }, () => dial(body.id));
    await Promise.all(clients.map((client) => new Promise((resolve) => client.once("open", resolve))));
    expect(await refused(dial(body.id))).toBe(429);
    clients[0]?.close();
    await until(
      () =>
        refused(dial(body.id)).then(
          () => false,
          () => true,
        ),
      "a place",
    );
    for (const client of clients) client.terminate();
  });

  test("a client that stalls for longer than the relay's five seconds keeps its connection", async () => {
    // More than the buffers of the system take.
    const most = 64 * 1024 * 1024;
    let left = most;
    const { client } = await connected("patience", (socket) => {
      const chunk = Buffer.alloc(64 * 1024);
      // As msb's relay does: five seconds without progress of a write are the end.
      const next = () => {
        if (left === 0) return;
        left -= chunk.length;
        const patience = setTimeout(() => socket.destroy(), 5_000);
        socket.write(chunk, () => {
          clearTimeout(patience);
          next();
        });
      };
      // Not before the client has stopped reading.
      socket.on("error", () => undefined).once("data", next);
    });
    let received = 0;
    client.on("message", (data: Buffer) => {
      received += data.length;
    });
    client.pause();
    client.send(Buffer.from("go"));
    await sleep(9_000);
    expect(left).toBeGreaterThan(0);
    client.resume();
    await until(() => received === most, "all of it", 30_000);
    client.terminate();
  });
});

describe("what all pipes hold together", () => {
  /** Pipes that share so much memory, each with an agent that sends what it is told. */
  async function pipes(total: number, agent: () => Duplex = () => new PassThrough()) {
    const memory = new PipeMemory(total);
    const server = new WebSocketServer({ port: 0, host: "127.0.0.1", maxPayload: MAX_MESSAGE });
    atFileEnd(() => server.close());
    server.on("connection", (client, { socket, url }) => {
      const ignore = () => undefined;
      void pipe(client, agent(), {
        ...{ memory, time: new FramesShare(), owner: url ?? "", connection: socket },
        ...{ fromClient: ignore, toClient: ignore },
      });
    });
    await new Promise((resolve) => server.once("listening", resolve));
    const { port } = server.address() as AddressInfo;
    const open = async (owner = "a") => {
      const client = new WebSocket(`ws://127.0.0.1:${port}/${owner}`, { perMessageDeflate: false });
      await new Promise((resolve) => client.once("open", resolve));
      return client;
    };
    return { memory, open };
  }

  test("unfinished messages are bounded, and given back", async () => {
    const { memory, open } = await pipes(2 * 1024 * 1024);
    const [one, two, three] = [await open(), await open(), await open()];
    const part = Buffer.alloc(700 * 1024);
    one.send(part, { fin: false });
    await until(() => memory.bytes >= part.length, "the first part");
    two.send(part, { fin: false });
    expect(await closed(two)).toBe(1013);
    await until(() => memory.bytes < 800 * 1024, "what the second held");
    one.send(part, { fin: true });
    await until(() => memory.bytes === 0, "the whole message");
    three.send(part);
    await new Promise((resolve) => three.once("message", resolve));
    for (const client of [one, three]) client.terminate();
  });

  test("control frames between the parts of a message give nothing back", async () => {
    const { memory, open } = await pipes(2 * 1024 * 1024);
    const client = await open();
    const part = Buffer.alloc(60 * 1024);
    const end = closed(client);
    for (let sent = 0; sent < 30; sent++) {
      client.send(part, { binary: true, fin: false });
      client.pong();
      client.ping();
    }
    expect(await end).toBe(1013);
    await until(() => memory.bytes === 0, "it is given back");
  });

  test("control frames alone come to nothing, however many", async () => {
    const { memory, open } = await pipes(2 * 1024 * 1024);
    const client = await open();
    for (let sent = 0; sent < 20_000; sent++) client.pong(Buffer.alloc(100));
    const answered = new Promise((resolve) => client.once("message", resolve));
    client.send("", { binary: true });
    client.send(Buffer.from("last"));
    await answered;
    expect(memory.bytes).toBe(0);
    client.terminate();
  });

  test("what a relay does not take counts, is bounded, and is given back", async () => {
    let taken: (() => void)[] = [];
    const deaf = () =>
      new Duplex({ read: () => undefined, write: (_chunk, _encoding, done) => void taken.push(done) });
    const { memory, open } = await pipes(2 * 1024 * 1024, deaf);
    const [one, two] = [await open(), await open()];
    const message = Buffer.alloc(700 * 1024);
    one.send(message);
    one.send(message);
    await until(() => memory.bytes >= message.length, "the first message");
    await sleep(100);
    expect(memory.bytes).toBeLessThan(message.length + 200 * 1024);
    for (const done of taken.splice(0)) done();
    await until(() => taken.length > 0 && memory.bytes >= message.length, "the second one");
    for (const done of taken.splice(0)) done();
    await until(() => memory.bytes === 0, "all is taken");
    one.send(message);
    await until(() => memory.bytes >= message.length, "the third one");
    two.send(message);
    expect(await closed(two)).toBe(1013);
    taken = [];
    one.terminate();
  });

  test("an owner that fills its half ends its own pipes; where all is full, the largest holder's", async () => {
    const { memory, open } = await pipes(2 * 1024 * 1024);
    const part = Buffer.alloc(500 * 1024);
    const held = async (owner: string, parts: number) => {
      const client = await open(owner);
      const before = memory.bytes;
      for (let sent = 0; sent < parts; sent++) client.send(part, { fin: false });
      await until(() => memory.bytes >= before + parts * part.length, "the parts");
      return client;
    };
    const [large, small] = [await held("a", 2), await held("b", 1)];
    const more = await open("a");
    more.send(part, { fin: false });
    expect(await closed(more)).toBe(1013);
    const end = closed(large);
    const third = await held("c", 1);
    const last = await open("b");
    last.send(part, { fin: false });
    expect(await end).toBe(1013);
    await until(() => memory.bytes < 4 * part.length, "what the largest held");
    for (const client of [small, third, last]) {
      expect(client.readyState).toBe(WebSocket.OPEN);
      client.terminate();
    }
    await until(() => memory.bytes === 0, "all of it");
  });
});
