import type { Duplex } from "node:stream";
import { PIECE_BYTES, type PipeShare } from "./pipe-memory";

const CONTROL = 0x08;
const FINAL = 0x80;
const MASKED = 0x80;

/**
 * What the receiver of a WebSocket holds of messages that are not whole: each piece that was read, as long as a byte of
 * one is in it, and an object for each fragment. It follows the frames by their heads, since neither their number nor
 * what a piece has beside a fragment shows in the bytes of the message.
 */
export class UnfinishedMessage {
  private head: number[] = [];
  private payloadLeft = 0;
  private fragments = 0;
  /** What the pieces take that are held. */
  private pieces = 0;
  private isFragmented = false;

  /** Takes the next piece of the connection. Returns the bytes of memory that are held from then on. */
  add(piece: Buffer): number {
    const bytes = piece.length + PIECE_BYTES;
    this.pieces += bytes;
    let hasData = false;
    for (let at = 0; at < piece.length; ) {
      if (this.payloadLeft > 0) {
        const some = Math.min(this.payloadLeft, piece.length - at);
        this.payloadLeft -= some;
        at += some;
      } else {
        this.head.push(piece[at++] as number);
        if (this.head.length < headLength(this.head)) continue;
        this.payloadLeft = payloadLength(this.head);
      }
      if (this.payloadLeft > 0) continue;
      hasData = this.endFrame() || hasData;
      // Only what follows in this piece may still be a part of something.
      if (!this.isFragmented) this.pieces = bytes;
    }
    const isWithinFrame = this.head.length > 0;
    if (!isWithinFrame && !this.isFragmented) this.pieces = 0;
    else if (!isWithinFrame && !hasData) this.pieces -= bytes;
    return this.pieces + this.fragments * PIECE_BYTES;
  }

  /** Whether it was one of a message. */
  private endFrame(): boolean {
    const [first = 0] = this.head;
    this.head = [];
    if (first & CONTROL) return false;
    this.isFragmented = (first & FINAL) === 0;
    this.fragments = this.isFragmented ? this.fragments + 1 : 0;
    return true;
  }
}

/** Of a frame's head, as far as it is known: two bytes, the long form of the length, the mask. */
function headLength([, second]: number[]): number {
  if (second === undefined) return 2;
  const length = second & ~MASKED;
  return 2 + (length === 126 ? 2 : length === 127 ? 8 : 0) + (second & MASKED ? 4 : 0);
}

function payloadLength([, second = 0, ...rest]: number[]): number {
  const length = second & ~MASKED;
  if (length < 126) return length;
  return rest.slice(0, length === 126 ? 2 : 8).reduce((sum, byte) => sum * 256 + byte, 0);
}

/**
 * Counts what is held of a client's unfinished messages.
 * @param connection that the WebSocket is read from, with nothing read of it since the upgrade
 */
export function countUnfinished(connection: Duplex, share: PipeShare): { stop: () => void } {
  const message = new UnfinishedMessage();
  const count = (piece: Buffer) => {
    share.set(message.add(piece));
  };
  // Before the WebSocket's own listener, which hands over what has become whole.
  connection.prependListener("data", count);
  return {
    stop: () => {
      connection.off("data", count);
      share.set(0);
    },
  };
}
