import { watch } from "node:fs";
import { join } from "node:path";
import { setImmediate as immediate } from "node:timers/promises";
import { SharedPlaces } from "../../limits/shared-places";
import type { LogEntry, LogQuery } from "../../sandboxes/backend";
import { LogReader, type LogTurn } from "./log-reader";

/** Pieces of logs are parsed one after the other, by turns of the owners. */
const PIECES = new SharedPlaces(1, "pieces of logs");
/** The file system's notifications wake a reader; this is for the case that they fail. */
const POLL_MS = 1_000;
/** How often a reader that waits says so, with an empty list. */
const IDLE_MS = 10_000;

/** A sandbox's log from a cursor on, until it ends or the signal aborts. */
export async function* readLog(
  home: string,
  handle: string,
  query: LogQuery,
  isAlive: () => Promise<boolean>,
): AsyncGenerator<LogEntry[]> {
  try {
    yield* follow(home, handle, query, isAlive);
  } catch (error) {
    // Whoever waits for a turn is told of the signal by an error.
    if (!query.signal.aborted) throw error;
  }
}

async function* follow(
  home: string,
  handle: string,
  { sources, after, signal, reader: owner = "" }: LogQuery,
  isAlive: () => Promise<boolean>,
): AsyncGenerator<LogEntry[]> {
  const folder = join(home, "sandboxes", handle, "logs");
  const turn: LogTurn = (work) =>
    PIECES.run(owner, signal, async () => {
      const done = await work();
      // Whatever else there is to do comes before the next piece.
      await immediate();
      return done;
    });
  const reader = await LogReader.open(folder, turn, after);
  let saidAt = Date.now();
  while (!signal.aborted) {
    // Asked before the file is read: what was written before the end is then in the file.
    const alive = await isAlive();
    for await (const entries of reader.read()) {
      const wanted = entries.filter(({ source }) => sources.has(source));
      if (wanted.length > 0) {
        saidAt = Date.now();
        yield wanted;
      }
      if (signal.aborted) return;
    }
    if (!alive) return;
    if (Date.now() - saidAt > IDLE_MS) {
      saidAt = Date.now();
      yield [];
    }
    await changed(folder, signal);
  }
}

/** Resolves when the log in the folder changed, after a second, or when the signal aborts. */
function changed(folder: string, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    let watcher: ReturnType<typeof watch> | undefined;
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      watcher?.close();
      resolve();
    };
    const timer = setTimeout(done, POLL_MS);
    signal.addEventListener("abort", done);
    if (signal.aborted) return done();
    try {
      watcher = watch(folder, (_event, name) => {
        // msb's other logs are in the same folder.
        if (name === null || name.startsWith("exec.log")) done();
      });
      watcher.on("error", done);
    } catch {
      // The folder is not there yet: the timer serves.
    }
  });
}
