/** Progress reporting: what is being done, that it still goes on, and how long it took. */

import { linesToType } from "./named-stack";

/** Where progress goes. Everything a user reads while setting up passes through one of these. */
export interface Reporter {
  /** Prints one line. */
  say(line: string): void;
  /**
   * Runs `fn` between a start line and a done line with its duration.
   * While it runs, a heartbeat line with the elapsed time appears after 5 seconds, then less and less often, every
   * 30 seconds in the end.
   * A failure is reported as failed and thrown on unchanged.
   *
   * @param progress how far it is, for the heartbeat and the done line. @example () => "12 MiB"
   */
  step<T>(name: string, fn: () => Promise<T>, progress?: () => string): Promise<T>;
  /**
   * Runs `fn`, which is over in a moment as a rule: nothing is printed but the heartbeat lines of one that takes longer.
   * Inside of a step, or of another wait, those of the outer one are enough.
   *
   * @param what what is waited for. @example "asking the server for its sandboxes"
   */
  wait<T>(what: string, fn: () => Promise<T>): Promise<T>;
}

/** Options of {@link createReporter}. */
export interface ReporterOptions {
  /** Takes each finished line, without its newline. Default: standard error. */
  write?: (line: string) => void;
  /** Milliseconds to the first heartbeat line; a pause is twice the one before, at most six times this. Default: 5000. */
  heartbeatMs?: number;
}

/**
 * Makes a reporter that writes plain lines (no cursor movements, so that logs of a CI job stay readable).
 * It writes to standard error: standard output stays free for the output of the command itself.
 */
export function createReporter(options: ReporterOptions = {}): Reporter {
  const print = options.write ?? ((line: string) => void process.stderr.write(`${line}\n`));
  const write = (line: string) => print(linesToType(line));
  const heartbeatMs = options.heartbeatMs ?? 5_000;
  /** Steps and waits that are under way. */
  let running = 0;

  /** Runs `fn` with a line each time that `line` is due. */
  async function beating<T>(line: () => string, fn: () => Promise<T>): Promise<T> {
    let heartbeat: NodeJS.Timeout | undefined;
    const beatIn = (pause: number): void => {
      heartbeat = setTimeout(() => {
        write(line());
        beatIn(Math.min(2 * pause, 6 * heartbeatMs));
      }, pause);
    };
    beatIn(heartbeatMs);
    running++;
    try {
      return await fn();
    } finally {
      running--;
      clearTimeout(heartbeat);
    }
  }

  return {
    say: write,
    async wait(what, fn) {
      const started = Date.now();
      return running > 0 ? fn() : beating(() => `  … ${elapsed(started)}: ${what}`, fn);
    },
    async step<T>(name: string, fn: () => Promise<T>, progress?: () => string): Promise<T> {
      const started = Date.now();
      const far = () => (progress ? `, ${progress()}` : "");
      write(`• ${name} …`);
      try {
        const result = await beating(() => `  … ${elapsed(started)}${far()}: ${name}`, fn);
        write(`✓ ${name} (${elapsed(started)}${far()})`);
        return result;
      } catch (error) {
        write(`✗ ${name} failed after ${elapsed(started)}`);
        throw error;
      }
    },
  };
}

/** A reporter that prints nothing, for tests and read-only callers. */
export const silentReporter: Reporter = {
  say() {},
  step: (_name, fn) => fn(),
  wait: (_what, fn) => fn(),
};

/** Formats the time since `started` (milliseconds since the epoch): `0.4 s`, `12 s`, `3 min 20 s`. */
export function elapsed(started: number, now = Date.now()): string {
  const seconds = (now - started) / 1000;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 120) return `${Math.round(seconds)} s`;
  return `${Math.floor(seconds / 60)} min ${Math.floor(seconds % 60)} s`;
}
