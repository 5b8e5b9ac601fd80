import { connect, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { atFileEnd } from "../../harness/file-end";
import { TestGateway, until } from "./harness";

const get = (target: string) =>
  `GET ${target} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer x\r\n\r\n`;

/** A connection that has sent that, and how it goes on. */
function sent(gateway: TestGateway, text: string, { reads }: { reads: boolean }) {
  const socket: Socket = connect(Number(new URL(gateway.url).port), "127.0.0.1");
  atFileEnd(() => socket.destroy());
  const seen = { socket, bytes: 0, isClosed: false };
  socket.on("error", () => undefined).on("close", () => (seen.isClosed = true));
  if (reads) socket.on("data", (data) => (seen.bytes += data.length));
  else socket.pause();
  socket.write(text);
  return seen;
}

/** What the server believes to be under way. */
async function open({ gateway }: TestGateway) {
  // Not over a socket, which would count.
  const { body } = await gateway.app.inject({ url: "/metrics", headers: { host: "127.0.0.1" } });
  const figure = (name: string) => Number(new RegExp(`^${name} (\\S+)$`, "m").exec(body)?.[1]);
  return {
    requests: figure("msb_gateway_requests_open") - 1,
    held: figure("msb_gateway_connections_held"),
  };
}

async function allIsOver(gateway: TestGateway): Promise<void> {
  const isOver = async () => Object.values(await open(gateway)).every((count) => count === 0);
  await until(isOver, "all is over").catch(async () =>
    expect(await open(gateway)).toEqual({ requests: 0, held: 0 }),
  );
}

test("a connection that asks for many things at once is closed; a few are answered in order", async () => {
  const gateway = await TestGateway.start();
  const many = sent(gateway, get("/openapi.json").repeat(200), { reads: true });
  await until(() => many.isClosed, "the end of the greedy one");
  const few = sent(gateway, get("/healthz").repeat(4), { reads: true });
  await until(() => few.bytes > 0, "the answers");
  await sleep(100);
  expect(few.isClosed).toBe(false);
  few.socket.destroy();
  await allIsOver(gateway);
});

test("an answer that nobody reads does not hold its connection for long; a waiting one may take its time", async () => {
  const gateway = await TestGateway.start({ TRANSFER_IDLE_SECONDS: "1" });
  const box = (await gateway.create("box")).body;
  const log = sent(gateway, get(`/v1/sandboxes/${box.id}/logs`), { reads: true });
  await until(() => log.bytes > 0, "the stream");
  let isClosed = false;
  gateway.gateway.app.server.once("connection", (socket: Socket) => {
    // More than the system takes for a client that does not read.
    socket.on("close", () => (isClosed = true)).write(Buffer.alloc(16 * 1024 * 1024));
  });
  sent(gateway, get("/openapi.json"), { reads: false });
  await until(async () => (await open(gateway)).requests === 2, "both requests");
  await until(() => isClosed, "the end of the one that does not read", 10_000);
  expect(log.isClosed).toBe(false);
  log.socket.destroy();
});

test("what waits behind an answer is given back with the connection", async () => {
  const gateway = await TestGateway.start();
  const box = (await gateway.create("box")).body;
  const { socket } = sent(gateway, get(`/v1/sandboxes/${box.id}/logs`).repeat(3), { reads: true });
  await until(async () => (await open(gateway)).held === 3, "all three");
  socket.destroy();
  await allIsOver(gateway);
});
