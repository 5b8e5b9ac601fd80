"use strict";

// ws unmasks byte by byte unless it finds a package of this name, and then every byte that a
// client sends goes through here. Four bytes at a time are about ten times as fast.

/** Applies a WebSocket mask of four bytes to a buffer in place. */
function unmask(buffer, mask) {
  const { length, byteOffset } = buffer;
  let at = 0;
  for (const aligned = Math.min(-byteOffset & 3, length); at < aligned; at++) buffer[at] ^= mask[at & 3];
  if (at === length) return;
  // The host is little-endian (amd64, arm64), as every word of a typed array is then.
  const word =
    mask[at & 3] | (mask[(at + 1) & 3] << 8) | (mask[(at + 2) & 3] << 16) | (mask[(at + 3) & 3] << 24);
  const words = new Int32Array(buffer.buffer, byteOffset + at, (length - at) >> 2);
  flip(words, word);
  for (at += words.length * 4; at < length; at++) buffer[at] ^= mask[at & 3];
}

/** Eight words a turn: the turns themselves would take more than half of the time. */
function flip(words, word) {
  const turns = words.length & ~7;
  let index = 0;
  for (; index < turns; index += 8) {
    words[index] ^= word;
    words[index + 1] ^= word;
    words[index + 2] ^= word;
    words[index + 3] ^= word;
    words[index + 4] ^= word;
    words[index + 5] ^= word;
    words[index + 6] ^= word;
    words[index + 7] ^= word;
  }
  for (; index < words.length; index++) words[index] ^= word;
}

/** Writes the masked bytes of a source to an output. */
function mask(source, key, output, offset, length) {
  const target = output.subarray(offset, offset + length);
  if (source !== target) target.set(source.subarray(0, length));
  unmask(target, key);
}

module.exports = { mask, unmask };
