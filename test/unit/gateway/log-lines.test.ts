import { writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { atFileEnd } from "../../harness/file-end";
import { inMemory } from "../../harness/in-memory";
import { TestGateway } from "./harness";

const MIB = 1024 * 1024;
/** Bytes of a line that is told, and of a read, with which a longer one may still come whole. */
const [LONGEST, READ] = [128 * 1024, 16 * 1024];

const lineOf = (text: string) => `${JSON.stringify({ t: "2026-01-01T00:00:00Z", s: "stdout", d: text })}\n`;

/** A sandbox that has stopped, with such a log. */
async function withLog(gateway: TestGateway, name: string, text: string): Promise<string> {
  const { body } = await gateway.create(name);
  await gateway.post(`/v1/sandboxes/${body.id}/stop`);
  writeFileSync(join(gateway.home, "sandboxes", body.id, "logs", "exec.log"), text);
  return `/v1/sandboxes/${body.id}/logs`;
}

test("a log is told line by line; one that no agent writes is left out, and what follows it is not", async () => {
  const gateway = await TestGateway.start();
  const sizes = fc.oneof(
    fc.integer({ min: 0, max: 200 }),
    fc.integer({ min: LONGEST - 3 * READ, max: LONGEST + 3 * READ }),
    fc.integer({ min: LONGEST, max: 9 * MIB }),
  );
  let boxes = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(sizes, { minLength: 1, maxLength: 6 }), async (lengths) => {
      const texts = lengths.map((length, index) => `${index}:${"x".repeat(length)}`);
      const path = await withLog(gateway, `box-${boxes++}`, texts.map(lineOf).join(""));
      const { body } = await gateway.get(path);
      const told = [...String(body).matchAll(/"text":"(\d+):(x*)"/g)].map(([, index]) => Number(index));
      expect(told).toEqual([...told].sort((a, b) => a - b));
      for (const [index, text] of texts.entries()) {
        const { length } = lineOf(text);
        if (length <= LONGEST) expect(told).toContain(index);
        if (length > LONGEST + 2 * READ) expect(told).not.toContain(index);
      }
    }),
    { numRuns: 10, endOnFailure: true },
  );
}, 60_000);

/** Of a reader that takes nothing, whatever is in the log. */
const MOST_HELD = 2.5 * MIB;

const encoded = (bytes: number) => lineOf(Buffer.alloc(bytes).toString("base64")).replace("}", ',"e":"b64"}');

test.each([
  [
    "of some MiB and some KiB",
    [7 * MIB, MIB / 16, 7 * MIB, MIB / 16].map((length) => lineOf("x".repeat(length))),
  ],
  ["of half a MiB", [lineOf("x".repeat(MIB / 2))]],
  ["that take six times as much to tell", [encoded(94 * 1024)]],
  ["that would be some MiB to tell", [encoded(700 * 1024)]],
  ["that are short and many", [lineOf("x")]],
])(
  "a reader that takes nothing holds little of a log: lines %s",
  async (_what, lines) => {
    const gateway = await TestGateway.start();
    const text = lines.join("").repeat(Math.ceil((24 * MIB) / lines.join("").length));
    const paths = await Promise.all(["a", "b"].map((name) => withLog(gateway, name, text)));
    const before = await inMemory();
    const streams = paths.flatMap((path) => Array.from({ length: 8 }, () => path));
    const readers = streams.map((path) => {
      const socket = connect(Number(new URL(gateway.url).port), "127.0.0.1").on("error", () => undefined);
      atFileEnd(() => void socket.destroy());
      socket.write(`GET ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer x\r\n\r\n`);
      return socket.pause();
    });
    // What is held for long: while lines are made, they take more for a moment.
    let least = Number.POSITIVE_INFINITY;
    for (let looks = 0; looks < 5; looks++) {
      await sleep(400);
      least = Math.min(least, (await inMemory()) - before);
    }
    expect(least).toBeLessThan(readers.length * MOST_HELD);
  },
  60_000,
);
