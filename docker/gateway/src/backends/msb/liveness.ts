import type { Duplex } from "node:stream";
import { connectAgent } from "./agent-socket";
import type { Entry } from "./sandbox-index";

/** What is looked at again after the first look: msb may need a moment to note the end. */
const SECOND_LOOK_MS = 500;

/**
 * Notices at once when a microVM ends: one connection to the agent of each that runs is held and never used, and it
 * closes with the machine. msb's own list would tell it a second or two later. What it means, msb is asked.
 */
export class Liveness {
  private readonly held = new Map<Entry, Duplex>();
  private closed = false;

  constructor(
    private readonly home: string,
    /** Has msb asked what has become of its sandboxes. */
    private readonly look: () => void,
  ) {}

  /** Follows a sandbox that runs, until it ends. Where its agent can't be reached, msb's list has to do. */
  follow(entry: Entry): void {
    if (this.closed || this.held.has(entry)) return;
    const timeout = AbortSignal.timeout(5_000);
    connectAgent(this.home, entry.record.handle, timeout).then(
      (connection) => this.hold(entry, connection),
      () => undefined,
    );
  }

  close(): void {
    this.closed = true;
    for (const connection of this.held.values()) connection.destroy();
  }

  private hold(entry: Entry, connection: Duplex): void {
    if (this.closed || this.held.has(entry) || entry.record.state !== "running") {
      connection.destroy();
      return;
    }
    this.held.set(entry, connection);
    // What the relay says at first is for nobody.
    connection.resume();
    connection.once("end", () => connection.destroy());
    connection.once("close", () => {
      this.held.delete(entry);
      if (this.closed || entry.ended || entry.underWay || entry.record.state !== "running") return;
      this.look();
      setTimeout(() => {
        if (this.closed || entry.ended || entry.record.state !== "running") return;
        this.look();
        this.follow(entry);
      }, SECOND_LOOK_MS).unref();
    });
  }
}
