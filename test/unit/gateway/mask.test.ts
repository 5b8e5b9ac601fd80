import { randomBytes } from "node:crypto";
import { createRequire } from "node:module";
import { join } from "node:path";
import { describe, expect, test } from "vitest";

const folder = join(__dirname, "../../../docker/gateway");
type BufferUtil = {
  mask: (source: Buffer, key: Buffer, output: Buffer, offset: number, length: number) => void;
  unmask: (buffer: Buffer, key: Buffer) => void;
};
const { mask, unmask }: BufferUtil = createRequire(join(folder, "package.json"))("bufferutil");

const plainly = (data: Buffer, key: Buffer) => Buffer.from(data.map((byte, at) => byte ^ (key[at & 3] ?? 0)));

describe("WebSocket masks", () => {
  test("every length at every alignment", () => {
    const key = randomBytes(4);
    for (let offset = 0; offset < 8; offset++)
      for (let length = 0; length < 70; length++) {
        const data = randomBytes(offset + length).subarray(offset);
        const expected = plainly(data, key);
        const output = Buffer.alloc(length + 5, 7);
        mask(data, key, output, 3, length);
        expect(output.subarray(3, 3 + length).equals(expected)).toBe(true);
        expect([...output.subarray(0, 3), ...output.subarray(3 + length)]).toEqual([7, 7, 7, 7, 7]);
        unmask(data, key);
        expect(data.equals(expected)).toBe(true);
      }
  });
});
