import type { Duplex } from "node:stream";
import type { WebSocket } from "ws";
import { TokenBuckets } from "../limits/token-buckets";

/** Seconds of the event loop that the frames of one key get: half of it, and some at once. */
const SHARE = { burst: 2, perSecond: 0.5 };

/** Whether a client is read: as long as nothing is against it. */
export class Reading {
  private readonly against = new Set<string>();

  constructor(
    private readonly client: Pick<WebSocket, "pause" | "resume">,
    private readonly keepalive: { heard: () => void; paused: () => void },
  ) {}

  stop(why: string): void {
    this.against.add(why);
    this.keepalive.paused();
    this.client.pause();
  }

  goOn(why: string): void {
    if (!this.against.delete(why) || this.against.size > 0) return;
    this.keepalive.heard();
    this.client.resume();
  }
}

/**
 * The time that the frames of WebSockets hold the event loop, by key. Of frames without bytes, pings, or one byte each, a
 * small piece holds thousands, so neither bytes nor messages tell what a client costs. A key that has taken more than its
 * share is not read for as long as that takes to earn: its bytes wait where they are.
 */
export class FramesShare {
  private readonly spent = new TokenBuckets();

  /**
   * Charges a key for what is done with each piece that is read.
   * @param connection that the WebSocket is read from; nobody listens to it before this from here on
   */
  charge(owner: string, connection: Pick<Duplex, "prependListener" | "on" | "off">, reading: Reading) {
    let began = 0;
    let waiting: NodeJS.Timeout | undefined;
    const begin = () => {
      began = performance.now();
    };
    const end = () => {
      this.spent.spend(owner, (performance.now() - began) / 1000, SHARE);
      const wait = this.spent.owed(owner, SHARE);
      if (wait === 0 || waiting) return;
      reading.stop("time");
      waiting = setTimeout(goOn, wait * 1000).unref();
    };
    // Another of the key's connections may have taken what was earned.
    const goOn = () => {
      const wait = this.spent.owed(owner, SHARE);
      waiting = wait > 0 ? setTimeout(goOn, wait * 1000).unref() : undefined;
      if (!waiting) reading.goOn("time");
    };
    connection.prependListener("data", begin);
    connection.on("data", end);
    return {
      stop: () => {
        clearTimeout(waiting);
        connection.off("data", begin).off("data", end);
      },
    };
  }
}
