import { mkdir, readdir, readFile, rename, unlink } from "node:fs/promises";
import { join } from "node:path";
import type * as z from "zod";
import { removeFileDurably, writeFileAtomically } from "../../files/atomic-file";

export type StoreLog = { error: (fields: object, message: string) => void };

/** Files read at once at the start: an older server's may be large, and few threads read them anyway. */
const READS_AT_ONCE = 8;

/**
 * Records on the state volume, one JSON file each, all of them in memory. A write has reached the disk when its
 * promise resolves; writes of one record follow each other in order, and only the newest is written.
 */
export class RecordStore<T extends { id: string }> {
  private readonly records = new Map<string, T>();
  private readonly writes = new Map<string, Promise<void>>();

  private constructor(private readonly folder: string) {}

  /** Reads what is there. A file that does not parse is set aside, never deleted. */
  static async open<T extends { id: string }>(folder: string, schema: z.ZodType<T>, log: StoreLog) {
    const store = new RecordStore<T>(folder);
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const names = await readdir(folder);
    const lane = async () => {
      for (let name = names.pop(); name !== undefined; name = names.pop())
        await store.read(name, schema, log);
    };
    await Promise.all(Array.from({ length: READS_AT_ONCE }, lane));
    return store;
  }

  get = (id: string): T | undefined => this.records.get(id);
  all = (): IterableIterator<T> => this.records.values();
  get size(): number {
    return this.records.size;
  }

  /** Replaces or adds a record. Memory changes at once, the promise waits for the disk. @throws ServiceError diskFull */
  put(record: T): Promise<void> {
    this.records.set(record.id, record);
    return this.afterOthers(record.id, async () => {
      // A later change may have come in between: the newest is what belongs on disk.
      const newest = this.records.get(record.id);
      if (newest) await writeFileAtomically(this.path(record.id), JSON.stringify(newest));
    });
  }

  delete(id: string): Promise<void> {
    this.records.delete(id);
    return this.afterOthers(id, async () => {
      if (!this.records.has(id)) await removeFileDurably(this.path(id));
    });
  }

  /** Resolves when everything asked for so far has reached the disk. */
  async flush(): Promise<void> {
    await Promise.allSettled(this.writes.values());
  }

  private afterOthers(id: string, write: () => Promise<void>): Promise<void> {
    const mine = (this.writes.get(id) ?? Promise.resolve()).then(write, write);
    this.writes.set(id, mine);
    const forget = () => {
      if (this.writes.get(id) === mine) this.writes.delete(id);
    };
    mine.then(forget, forget);
    return mine;
  }

  private async read(name: string, schema: z.ZodType<T>, log: StoreLog): Promise<void> {
    const path = join(this.folder, name);
    if (name.endsWith(".tmp")) await unlink(path).catch(() => undefined);
    if (!name.endsWith(".json")) return;
    try {
      const record = schema.parse(JSON.parse(await readFile(path, "utf8")));
      this.records.set(record.id, record);
    } catch (error) {
      log.error({ path, err: String(error) }, "a record can't be read; it is set aside");
      await rename(path, `${path}.unreadable`);
    }
  }

  private path = (id: string) => join(this.folder, `${id}.json`);
}
