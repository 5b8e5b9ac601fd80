import { connect, type Socket } from "node:net";
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { atFileEnd } from "../../harness/file-end";
import { fakeAgent, type TestGateway, until } from "./harness";
import { withKeys } from "./with-keys";

/** Connections of the server in all; keys share five eighths of them, and one gets half of those. */
const MOST = 64;
const ONE_KEY = 20;

const UPGRADE = [
  ...["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"],
  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
];
/** What holds a connection open: nothing, an answer that goes on, a WebSocket. */
type Kind = "idle" | "log" | "pipe";

/** A connection that has asked for something with a key; its status is 0 until there is one. */
function asked({ url }: TestGateway, key: string, kind: Kind, box: string) {
  const path = { idle: "/v1/quotas", log: `/v1/sandboxes/${box}/logs`, pipe: `/v1/sandboxes/${box}/agent` };
  const socket: Socket = connect(Number(new URL(url).port), "127.0.0.1");
  const seen = { socket, status: 0, text: "", isClosed: false };
  atFileEnd(() => socket.destroy());
  socket
    .on("error", () => undefined)
    .on("close", () => {
      seen.isClosed = true;
    })
    .on("data", (data) => {
      seen.text += data;
      seen.status = Number(/^HTTP\/1\.1 (\d+)/.exec(seen.text)?.[1]);
    });
  const head = ["Host: 127.0.0.1", `Authorization: Bearer ${key}`, ...(kind === "pipe" ? UPGRADE : [])];
  socket.write(`${[`GET ${path[kind]} HTTP/1.1`, ...head].join("\r\n")}\r\n\r\n`);
  return seen;
}

test("one key leaves connections to others, whatever it holds them with", async () => {
  const kinds = fc.constantFrom<Kind>("idle", "log", "pipe");
  const plans = fc.array(kinds, { minLength: 2 * MOST, maxLength: 2 * MOST });
  const { gateway, create } = await withKeys(["ann", "bob", "cid"].map((id) => ({ id, key: id })));
  gateway.gateway.app.server.maxConnections = MOST;
  // One log is for eight streams of a key. They are made one by one, on one connection, which stays open.
  const boxes: string[] = [];
  for (let index = 0; index < 8; index++) {
    boxes.push((await create("ann", `box-${index}`)).body.id);
    await fakeAgent(gateway.home, `box-${index}`, (socket) => socket.on("error", () => undefined).resume());
  }
  await fc.assert(
    fc.asyncProperty(plans, async (plan) => {
      const all = plan.map((kind, index) => asked(gateway, "ann", kind, boxes[index % boxes.length] ?? ""));
      const isOver = () => all.every(({ status, isClosed }) => status > 0 || isClosed);
      await until(isOver, "an answer to each", 20_000);
      const held = () => all.filter(({ isClosed }) => !isClosed);
      await until(() => held().length <= ONE_KEY, "the end of those that are too many");
      const refused = all.find(({ status }) => status === 429);
      expect(refused?.text).toMatch(/connection: close/i);
      expect(refused?.text).toContain("connections at once with one key");
      // What she has goes on being served, and the others have theirs.
      expect(held().length).toBeGreaterThan(ONE_KEY / 2);
      for (const key of ["bob", "cid"]) {
        const theirs = plan.slice(0, 4).map((kind) => asked(gateway, key, kind, boxes[0] ?? ""));
        await until(() => theirs.every(({ status }) => status > 0), `what ${key} asked for`);
        for (const { status } of theirs) expect([101, 200]).toContain(status);
        for (const { socket } of theirs) socket.destroy();
      }
      for (const { socket } of all) socket.destroy();
      // They are given back: she gets as many again, beside the first one.
      const again: ReturnType<typeof asked>[] = [];
      for (let count = 0; count < ONE_KEY - 1; count++)
        await until(async () => {
          const next = asked(gateway, "ann", "idle", "");
          await until(() => next.status > 0 || next.isClosed, "an answer");
          if (next.status === 200) again.push(next);
          return next.status === 200;
        }, "one of her places");
      for (const { socket } of again) socket.destroy();
    }),
    { numRuns: 4, endOnFailure: true },
  );
}, 60_000);
