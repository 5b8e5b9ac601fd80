import { mkdir, readdir, readFile, rename, unlink } from "node:fs/promises";
import { join } from "node:path";
import type * as z from "zod";
import { removeFileDurably, writeFileAtomically } from "../../files/atomic-file";
import { Serial } from "../../sandboxes/serial";

export type StoreLog = { error: (fields: object, message: string) => void };

/**
 * Records on the state volume, one JSON file each, all of them in memory. A write has reached
 * the disk when its promise resolves; writes of one record follow each other in order.
 */
export class RecordStore<T extends { id: string }> {
  private readonly records = new Map<string, T>();
  private readonly writes = new Serial();

  private constructor(private readonly folder: string) {}

  /** Reads what is there. A file that does not parse is set aside, never deleted. */
  static async open<T extends { id: string }>(folder: string, schema: z.ZodType<T>, log: StoreLog) {
    const store = new RecordStore<T>(folder);
    await mkdir(folder, { recursive: true, mode: 0o700 });
    for (const name of await readdir(folder)) {
      const path = join(folder, name);
      if (name.endsWith(".tmp")) await unlink(path).catch(() => undefined);
      if (!name.endsWith(".json")) continue;
      try {
        const record = schema.parse(JSON.parse(await readFile(path, "utf8")));
        store.records.set(record.id, record);
      } catch (error) {
        log.error({ path, err: String(error) }, "a record can't be read; it is set aside");
        await rename(path, `${path}.unreadable`);
      }
    }
    return store;
  }

  get = (id: string): T | undefined => this.records.get(id);
  all = (): IterableIterator<T> => this.records.values();
  get size(): number {
    return this.records.size;
  }

  /** Replaces or adds a record. Memory changes at once, the promise waits for the disk. */
  put(record: T): Promise<void> {
    this.records.set(record.id, record);
    return this.writes.run(record.id, () => {
      // A later change may have come in between: the newest is what belongs on disk.
      const newest = this.records.get(record.id);
      return newest ? writeFileAtomically(this.path(record.id), JSON.stringify(newest)) : Promise.resolve();
    });
  }

  delete(id: string): Promise<void> {
    this.records.delete(id);
    return this.writes.run(id, () =>
      this.records.has(id) ? Promise.resolve() : removeFileDurably(this.path(id)),
    );
  }

  /** Resolves when everything asked for so far has reached the disk. */
  flush(): Promise<void> {
    return this.writes.settled();
  }

  private path = (id: string) => join(this.folder, `${id}.json`);
}
