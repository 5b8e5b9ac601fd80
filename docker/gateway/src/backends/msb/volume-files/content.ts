import type { FileHandle } from "node:fs/promises";
import { Readable } from "node:stream";
import { ServiceError } from "../../../errors";
import type { RunTurn } from "./turns";

const CHUNK_BYTES = 256 * 1024;

/** The first bytes of a file as a stream, which closes the file. It fails when the file has become shorter. */
export function streamOf(file: FileHandle, size: number, turn: RunTurn): Readable {
  let position = 0;
  return new Readable({
    highWaterMark: CHUNK_BYTES,
    read() {
      if (position >= size) return void this.push(null);
      const length = Math.min(CHUNK_BYTES, size - position);
      turn(() => file.read(Buffer.allocUnsafe(length), 0, length, position)).then(({ bytesRead, buffer }) => {
        position += bytesRead;
        if (bytesRead === 0) this.destroy(new ServiceError("conflict", "the file has become shorter"));
        else this.push(buffer.subarray(0, bytesRead));
      }, this.destroy.bind(this));
    },
    destroy(error, done) {
      file.close().then(
        () => done(error),
        (failed) => done(error ?? failed),
      );
    },
  });
}

/** Content up to a length. @throws ServiceError tooLarge */
export async function* atMost(
  content: AsyncIterable<Uint8Array>,
  maxBytes: number,
): AsyncGenerator<Uint8Array> {
  let length = 0;
  for await (const chunk of content) {
    length += chunk.length;
    if (length > maxBytes) throw new ServiceError("tooLarge", `a file may have ${maxBytes} bytes at most`);
    yield chunk;
  }
}
