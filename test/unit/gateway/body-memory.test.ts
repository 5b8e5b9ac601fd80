import { connect, type Socket } from "node:net";
import { expect, test } from "vitest";
import { bytesForBodies } from "../../../docker/gateway/src/http/body-memory";
import { atFileEnd } from "../../harness/file-end";
import { newBody, until } from "./harness";
import { fakeHeap } from "./heap-figures";
import { bearer, withKeys } from "./with-keys";

const MIB = 1024 * 1024;
const LIMIT = 2 * MIB;
/** What one key may have in flight here: half of what all may. */
const MOST = bytesForBodies(LIMIT) / 2;

/** A create whose body is not whole: its answer, if one comes all the same, and whether it was hung up on. */
class HalfSent {
  answer = "";
  closed = false;
  private constructor(readonly socket: Socket) {
    socket
      .on("error", () => undefined)
      .on("close", () => {
        this.closed = true;
      });
    socket.on("data", (data) => {
      this.answer += data;
    });
    atFileEnd(() => void socket.destroy());
  }

  static open(url: string, key: string, framing: string): HalfSent {
    const socket = connect({ host: "127.0.0.1", port: Number(new URL(url).port) });
    const head = ["POST /v1/sandboxes HTTP/1.1", "Host: 127.0.0.1", `Authorization: Bearer ${key}`];
    socket.write(`${[...head, "Content-Type: application/json", framing].join("\r\n")}\r\n\r\n`);
    return new HalfSent(socket);
  }

  get status(): string {
    return this.answer.slice(9, 12);
  }
}

const keys = ["a", "b"].map((key) => ({ id: `id-${key}`, key }));

test("bytes of bodies in flight are bounded for each key, and others' requests go on", {
  timeout: 60_000,
}, async () => {
  const { gateway } = await withKeys(keys);
  const size = LIMIT - 1;
  const count = Math.ceil(MOST / size) + 8;
  const sent = Array.from({ length: count }, () =>
    HalfSent.open(gateway.url, "a", `Content-Length: ${size}`),
  );
  for (const { socket } of sent) socket.write(Buffer.alloc(size - 1, 0x20));
  await until(() => sent.filter(({ closed }) => closed).length >= 8, "those beyond it to be refused", 30_000);

  const refused = sent.filter(({ closed }) => closed);
  expect(refused.every(({ status }) => status === "429")).toBe(true);
  expect(refused[0]?.answer).toMatch(/retry-after: 1\r\n/);
  expect(JSON.parse(refused[0]?.answer.split("\r\n\r\n")[1] ?? "").error).toEqual({
    code: "rate_limited",
    message: `more than ${Math.ceil(MOST)} bytes of requests at once with one key`,
  });
  // Those within it are taken, and read on.
  expect(sent.length - refused.length).toBeGreaterThan(count / 4);

  const others = { body: newBody("of-b"), headers: bearer("b") };
  expect((await gateway.request("POST", "/v1/sandboxes", others)).status).toBe(200);
  expect(await figure(gateway)).toBeGreaterThan(MOST / 2);
  for (const { socket } of sent) socket.destroy();
  await until(async () => (await figure(gateway)) === 0, "all to be given back");
  expect(
    (await gateway.request("POST", "/v1/sandboxes", { body: newBody("of-a"), headers: bearer("a") })).status,
  ).toBe(200);
});

test("a body that comes a byte at a time counts as what it takes", { timeout: 60_000 }, async () => {
  fakeHeap({ heap_size_limit: 16 * MIB });
  const { gateway } = await withKeys(keys).finally(() => fakeHeap());
  const one = HalfSent.open(gateway.url, "a", "Transfer-Encoding: chunked");
  one.socket.setNoDelay(true);
  for (let sent = 0; sent < 30_000 && !one.closed; sent++) {
    one.socket.write("1\r\n \r\n");
    await new Promise(setImmediate);
  }
  await until(() => one.closed, "it to be refused", 20_000);
  expect(one.status).toBe("429");
});

test.each([
  [256 * MIB, 32 * MIB],
  [64 * 1024 * MIB, 128 * MIB],
  [16 * MIB, 4 * LIMIT],
])("with a heap of %i bytes all bodies may take %i: a key can send the largest", (heap, bytes) => {
  expect(bytesForBodies(LIMIT, heap)).toBe(bytes);
});

async function figure({ gateway }: Awaited<ReturnType<typeof withKeys>>["gateway"]): Promise<number> {
  const text = await gateway.metrics.registry.metrics();
  return Number(/^msb_gateway_body_bytes (\S+)$/m.exec(text)?.[1]);
}
