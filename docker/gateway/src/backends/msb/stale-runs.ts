import { existsSync } from "node:fs";
import { join } from "node:path";

/** What is used of node:sqlite, whose types came after those of the oldest Node that this is checked with. */
type Sqlite = {
  DatabaseSync: new (
    path: string,
  ) => {
    exec(sql: string): void;
    prepare(sql: string): { run(): { changes: number | bigint } };
    close(): void;
  };
};

/**
 * Has msb forget the process ids of microVMs that have ended.
 *
 * msb notes the process of each run, and refuses to start a sandbox while a process of that number lives
 * (microsandbox 0.7.13, lib/backend/local/sandbox/mod.rs: "previous runtime pid … is still alive"). In the next
 * container the numbers begin anew, and some thread has that number soon. To be called before anything is started,
 * after msb has looked what still runs; a run that msb counts as running is left alone.
 *
 * @returns how many it was; undefined where there is nothing to look at, or this Node has no SQLite
 */
export function forgetEndedRuns(home: string): number | undefined {
  const path = join(home, "db", "msb.db");
  // Node 20, which only tests use, has none.
  const sqlite = process.getBuiltinModule("node:sqlite") as Sqlite | undefined;
  if (!sqlite || !existsSync(path)) return undefined;
  const database = new sqlite.DatabaseSync(path);
  try {
    database.exec("PRAGMA busy_timeout = 5000");
    const ended = "UPDATE run SET pid = NULL WHERE pid IS NOT NULL AND status = 'Terminated'";
    return Number(database.prepare(ended).run().changes);
  } finally {
    database.close();
  }
}
