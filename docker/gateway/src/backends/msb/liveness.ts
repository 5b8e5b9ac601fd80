import type { Duplex } from "node:stream";
import { isUp } from "../../sandboxes/states";
import { connectAgent } from "./agent-socket";
import type { Entry } from "./sandbox-index";

/** What is looked at again after the first look: msb may need a moment to note the end. */
const SECOND_LOOK_MS = 500;
/** How often msb is asked as long as there are sandboxes whose agent can't be reached. */
const UNREACHED_MS = 3_000;
/** Of those, how many are tried again each time. */
const TRIES_AT_ONCE = 64;

export type LivenessOptions = {
  home: string;
  /** Has msb asked anew what has become of its sandboxes. */
  look: () => void;
  /** The same, unless it was asked a moment ago. */
  lookIfStale: () => void;
};

/**
 * Notices at once when a microVM ends: one connection to the agent of each that runs is held and never used, and it
 * closes with the machine. msb's own list would tell it a second or two later. What it means, msb is asked. Where an
 * agent can't be reached, the list has to do, so it is asked for every few seconds.
 */
export class Liveness {
  private readonly held = new Map<Entry, Duplex>();
  private readonly connecting = new Set<Entry>();
  private readonly unreached = new Set<Entry>();
  private timer: NodeJS.Timeout | undefined;
  private closed = false;

  constructor(private readonly options: LivenessOptions) {}

  /** Follows a sandbox that runs, until it ends or {@link leave}. */
  follow(entry: Entry): void {
    if (this.closed || this.held.has(entry) || this.connecting.has(entry)) return;
    this.connecting.add(entry);
    this.unreached.delete(entry);
    connectAgent(this.options.home, entry.record.handle, AbortSignal.timeout(5_000))
      .finally(() => this.connecting.delete(entry))
      .then(
        (connection) => this.hold(entry, connection),
        () => this.tryLater(entry),
      );
  }

  /** It does not run any more, or is being stopped: its agent's connections are for others. */
  leave(entry: Entry): void {
    this.unreached.delete(entry);
    const connection = this.held.get(entry);
    this.held.delete(entry);
    connection?.destroy();
  }

  close(): void {
    this.closed = true;
    clearTimeout(this.timer);
    for (const connection of this.held.values()) connection.destroy();
  }

  private hold(entry: Entry, connection: Duplex): void {
    if (this.isOver(entry)) return void connection.destroy();
    this.held.set(entry, connection);
    // What the relay says at first is for nobody.
    connection.resume();
    connection.once("end", () => connection.destroy());
    connection.once("close", () => {
      if (this.held.get(entry) !== connection) return;
      this.held.delete(entry);
      if (this.isOver(entry) || entry.underWay) return;
      this.options.look();
      setTimeout(() => {
        if (this.isOver(entry)) return;
        this.options.look();
        this.follow(entry);
      }, SECOND_LOOK_MS).unref();
    });
  }

  private tryLater(entry: Entry): void {
    if (this.isOver(entry)) return;
    this.unreached.add(entry);
    this.schedule();
  }

  private tryAgain(): void {
    this.timer = undefined;
    if (this.unreached.size === 0) return;
    this.options.lookIfStale();
    // Those tried again go behind the others.
    for (const entry of [...this.unreached].slice(0, TRIES_AT_ONCE)) this.follow(entry);
    if (this.unreached.size > 0) this.schedule();
  }

  private schedule(): void {
    this.timer ??= setTimeout(() => this.tryAgain(), UNREACHED_MS).unref();
  }

  private isOver = (entry: Entry): boolean => this.closed || entry.ended || !isUp(entry.record.state);
}
