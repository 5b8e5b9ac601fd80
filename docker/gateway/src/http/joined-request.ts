import { IncomingMessage } from "node:http";

/** Pieces that wait to be joined; each takes some hundred bytes beside its own. */
const MOST_PIECES = 256;

/**
 * A request whose body takes about as much memory as it has bytes. A client chooses how small its HTTP chunks are, and Node
 * makes an object of each, but counts their bytes alone: of chunks of one byte, some MiB would wait for whoever reads late.
 * Here all that has come since the last look is one piece.
 */
export class JoinedRequest extends IncomingMessage {
  private waiting: Buffer[] = [];
  private waitingBytes = 0;

  /** Takes what was read of the connection. @returns whether it is to be read on */
  override push(piece: Buffer | null): boolean {
    if (piece === null) {
      this.join();
      return super.push(null);
    }
    if (this.waiting.length === 0) process.nextTick(() => this.joinForReader());
    else if (this.waiting.length >= MOST_PIECES) this.waiting = [Buffer.concat(this.waiting)];
    this.waiting.push(piece);
    this.waitingBytes += piece.length;
    return this.readableLength + this.waitingBytes < this.readableHighWaterMark;
  }

  override read(size?: number): unknown {
    this.joinForReader();
    return super.read(size);
  }

  /** While the last piece has not been read, the next one grows. */
  private joinForReader(): void {
    if (this.readableLength === 0) this.join();
  }

  private join(): void {
    const [first, ...rest] = this.waiting;
    if (!first) return;
    this.waiting = [];
    this.waitingBytes = 0;
    super.push(rest.length === 0 ? first : Buffer.concat([first, ...rest]));
  }
}
