import type { Duplex } from "node:stream";
import type { LogEntry, LogQuery } from "../../sandboxes/backend";
import { STATES } from "../../sandboxes/states";
import { connectAgent } from "./agent-socket";
import type { IdlePauses } from "./idle-pauses";
import { readLog } from "./logs";
import { checkReachable } from "./pausing";
import type { Entry } from "./sandbox-index";
import { statusOf } from "./sandbox-view";
import type { StatusCache } from "./status-cache";

export type GuestAccessOptions = { home: string; view: StatusCache; idle: IdlePauses };

const LOG_STATUS_AGE_MS = 5_000;

/** What is heard from the guest of a sandbox: its agent, and its log. Both are a use of it for as long as they are open. */
export class GuestAccess {
  constructor(private readonly options: GuestAccessOptions) {}

  /** A connection to the agent of one that runs, or is about to. @throws ServiceError as `SandboxBackend.openAgent` */
  async openAgent(entry: Entry, signal: AbortSignal): Promise<Duplex> {
    const { home, view, idle } = this.options;
    const over = idle.begin(entry);
    try {
      if (statusOf(entry) === "starting" || entry.record.state === "pausing")
        await entry.until(({ settled }) => settled, signal);
      await idle.awake(entry, signal);
      checkReachable(entry);
      const agent = await connectAgent(home, entry.record.handle, signal).catch((error) => {
        // Most likely it has just ended.
        view.invalidate();
        throw error;
      });
      return agent.once("close", over);
    } catch (error) {
      over();
      throw error;
    }
  }

  /** Its log from a cursor on, until it ends or the signal aborts. */
  async *log(entry: Entry, query: LogQuery): AsyncGenerator<LogEntry[]> {
    const { home, view, idle } = this.options;
    const isAlive = async () => {
      // While msb can't say, it lives: a log that is followed goes on.
      await view.refresh(LOG_STATUS_AGE_MS).catch(() => undefined);
      return !entry.ended && STATES[entry.record.state].alive;
    };
    const over = idle.begin(entry);
    try {
      yield* readLog(home, entry.record.handle, query, isAlive);
    } finally {
      over();
    }
  }
}
