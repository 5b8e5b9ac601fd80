import { EventEmitter } from "node:events";
import { PassThrough } from "node:stream";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { WebSocket } from "ws";
import { FramesShare } from "../../../docker/gateway/src/http/frames-share";
import { PipeMemory } from "../../../docker/gateway/src/http/pipe-memory";
import { pipe } from "../../../docker/gateway/src/http/web-socket-pipe";

/** A client as a pipe sees one: how long it is kept is told by a clock that the test sets. */
class Client extends EventEmitter {
  readonly OPEN = 1;
  readyState = 1;
  bufferedAmount = 0;
  terminated = false;
  pings = 0;
  send = (_chunk: Buffer, _options: object, done: () => void) => done();
  ping = () => void this.pings++;
  pause = () => undefined;
  resume = () => undefined;
  close = () => undefined;
  terminate = () => {
    this.terminated = true;
    this.emit("close");
  };
}

const SECONDS = 1_000;
beforeEach(
  () =>
    void vi.useFakeTimers({
      toFake: ["setInterval", "clearInterval", "setTimeout", "clearTimeout", "performance"],
    }),
);
afterEach(() => void vi.useRealTimers());

function piped() {
  const [client, agent] = [new Client(), new PassThrough()];
  const [fromClient, toClient] = [vi.fn(), vi.fn()];
  const options = {
    memory: new PipeMemory(),
    time: new FramesShare(),
    owner: "a",
    connection: new PassThrough(),
    fromClient,
    toClient,
  };
  const over = pipe(client as unknown as WebSocket, agent, options);
  return { client, agent, over };
}

// Public report 20: a reader that is behind with megabytes comes to a ping only after them.
describe("a client that answers no ping", () => {
  test("is ended within a minute where there is nothing for it to read", async () => {
    const { client } = piped();
    client.emit("pong", Buffer.alloc(0));
    await vi.advanceTimersByTimeAsync(29 * SECONDS);
    expect(client.terminated).toBe(false);
    await vi.advanceTimersByTimeAsync(32 * SECONDS);
    expect(client.terminated).toBe(true);
    expect(client.pings).toBeGreaterThan(0);
  });

  test("has ten minutes where it was sent something, and any time once it is heard", async () => {
    const { client, agent } = piped();
    agent.write("something to read");
    await vi.advanceTimersByTimeAsync(9 * 60 * SECONDS);
    expect(client.terminated).toBe(false);
    client.emit("pong", Buffer.alloc(0));
    agent.write("more");
    await vi.advanceTimersByTimeAsync(9 * 60 * SECONDS);
    expect(client.terminated).toBe(false);
    await vi.advanceTimersByTimeAsync(2 * 60 * SECONDS);
    expect(client.terminated).toBe(true);
  });
});
