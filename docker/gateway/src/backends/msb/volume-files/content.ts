import type { FileHandle } from "node:fs/promises";
import { Readable } from "node:stream";
import { ServiceError } from "../../../errors";

const CHUNK_BYTES = 256 * 1024;

/** The first bytes of a file as a stream, which closes the file. It fails when the file has become shorter. */
export function streamOf(file: FileHandle, size: number): Readable {
  let position = 0;
  return new Readable({
    highWaterMark: CHUNK_BYTES,
    read() {
      if (position >= size) return void this.push(null);
      const length = Math.min(CHUNK_BYTES, size - position);
      file.read(Buffer.allocUnsafe(length), 0, length, position).then(({ bytesRead, buffer }) => {
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

/** The content of a file in pieces, for a copy. */
export async function* chunksOf(file: FileHandle, signal?: AbortSignal): AsyncGenerator<Buffer> {
  const buffer = Buffer.allocUnsafe(4 * CHUNK_BYTES);
  for (let position = 0; ; ) {
    signal?.throwIfAborted();
    const { bytesRead } = await file.read(buffer, 0, buffer.length, position);
    if (bytesRead === 0) return;
    position += bytesRead;
    yield buffer.subarray(0, bytesRead);
  }
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
