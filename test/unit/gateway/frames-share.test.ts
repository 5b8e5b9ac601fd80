import { EventEmitter } from "node:events";
import { PassThrough } from "node:stream";
import * as fc from "fast-check";
import { expect, test, vi } from "vitest";
import { WebSocket } from "ws";
import { FramesShare, Reading } from "../../../docker/gateway/src/http/frames-share";
import { fakeAgent, TestGateway, until } from "./harness";

const deaf = { heard: () => undefined, paused: () => undefined };

/** A client of which pieces come as long as it is read, each of which takes its time, by a clock of the test's own. */
function flooding(time: FramesShare, owner: string) {
  const connection = new EventEmitter();
  const client = { isPaused: false, pause: () => undefined, resume: () => undefined };
  client.pause = () => {
    client.isPaused = true;
    return undefined;
  };
  client.resume = () => {
    client.isPaused = false;
    return undefined;
  };
  let cost = 0;
  let took = 0;
  // As the WebSocket does, which has listened before.
  connection.on("data", () => {
    vi.advanceTimersByTime(cost);
    took += cost;
  });
  const { stop } = time.charge(owner, connection as never, new Reading(client, deaf));
  return {
    client,
    piece: (ms: number) => {
      if (client.isPaused) return vi.advanceTimersByTime(1);
      cost = ms;
      return connection.emit("data", Buffer.alloc(1));
    },
    took: () => took,
    stop,
  };
}

test("the frames of one key's connections take half of the time, and two seconds at once", () => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance"] });
  try {
    const pieces = fc.array(fc.tuple(fc.nat(2), fc.integer({ min: 1, max: 300 })), {
      minLength: 50,
      maxLength: 300,
    });
    fc.assert(
      fc.property(pieces, (all) => {
        const time = new FramesShare();
        const ann = [0, 1, 2].map(() => flooding(time, "ann"));
        const began = performance.now();
        for (const [which, ms] of all) {
          ann[which]?.piece(ms);
          const took = ann.reduce((sum, each) => sum + each.took(), 0);
          // One piece more for each connection, before it is stopped.
          const most = 2_000 + (performance.now() - began) / 2 + 3 * 300;
          expect(took).toBeLessThanOrEqual(most);
        }
        const bob = flooding(time, "bob");
        bob.piece(1);
        expect(bob.client.isPaused).toBe(false);
        // Who has paid is read again.
        vi.advanceTimersByTime(600_000);
        expect(ann.map(({ client }) => client.isPaused)).toEqual([false, false, false]);
        for (const { stop } of [...ann, bob]) stop();
        expect(vi.getTimerCount()).toBe(0);
      }),
      { numRuns: 30 },
    );
  } finally {
    vi.useRealTimers();
  }
});

test("a client that something else stops as well is read when nothing is against it", () => {
  const client = { pause: vi.fn(), resume: vi.fn() };
  const reading = new Reading(client, deaf);
  reading.stop("time");
  reading.stop("sandbox");
  reading.goOn("time");
  reading.goOn("time");
  expect(client.resume).not.toHaveBeenCalled();
  reading.goOn("sandbox");
  expect(client.resume).toHaveBeenCalledTimes(1);
  reading.goOn("sandbox");
  expect(client.resume).toHaveBeenCalledTimes(1);
});

test("a pipe whose key owes time is not read, and goes on when it has paid", async () => {
  const gateway = await TestGateway.start();
  const { id } = (await gateway.create("box")).body;
  await fakeAgent(gateway.home, "box", (socket) => socket.on("error", () => undefined).pipe(socket));
  const charge = vi.spyOn(FramesShare.prototype, "charge");
  const client = new WebSocket(`${gateway.url.replace("http", "ws")}/v1/sandboxes/${id}/agent`, {
    headers: { authorization: "Bearer x" },
  });
  await new Promise((resolve) => client.once("open", resolve));
  await until(() => charge.mock.calls.length === 1, "the pipe to be charged");
  const [owner, , reading] = charge.mock.calls[0] as Parameters<FramesShare["charge"]>;
  expect(owner).not.toBe("");
  const echoes: string[] = [];
  client.on("message", (data) => echoes.push(String(data)));
  reading.stop("time");
  client.send(Buffer.from("late"));
  await fetch(`${gateway.url}/healthz`);
  expect(echoes).toEqual([]);
  reading.goOn("time");
  await until(() => echoes.length === 1, "the message");

  // Of pings the newest is answered, however many have come; each would be a write, and wait in memory.
  const pongs: string[] = [];
  client.on("pong", (data) => pongs.push(String(data)));
  for (let at = 0; at < 5_000; at++) client.ping(String(at));
  await until(() => pongs.at(-1) === "4999", "the newest ping to be answered", 30_000);
  expect(pongs.length).toBeLessThan(2_500);
  expect(pongs.map(Number)).toEqual(pongs.map(Number).sort((a, b) => a - b));
  client.terminate();
});

test("nothing is charged for a connection that is closed", () => {
  const connection = new PassThrough();
  const { stop } = new FramesShare().charge(
    "ann",
    connection,
    new Reading(new EventEmitter() as never, deaf),
  );
  stop();
  expect(connection.listenerCount("data")).toBe(0);
});
