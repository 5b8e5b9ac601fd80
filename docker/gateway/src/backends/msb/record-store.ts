import { mkdir, readdir, readFile, rename, unlink } from "node:fs/promises";
import { join } from "node:path";
import type * as z from "zod";
import { ConfigError, errorText } from "../../errors";
import { removeFileDurably, writeFileAtomically } from "../../files/atomic-file";

export type StoreLog = { error: (fields: object, message: string) => void };

/** Is told of a change; of one that is new, or no more, there is nothing before or after it. */
type Follower<T> = (before: T | undefined, after: T | undefined) => void;

/** Files read at once at the start: an older server's may be large, and few threads read them anyway. */
const READS_AT_ONCE = 8;

/**
 * Records on the state volume, one JSON file each, all of them in memory. A write has reached the disk when its
 * promise resolves; writes of one record follow each other in order, and only the newest is written.
 */
export class RecordStore<T extends { id: string }> {
  private readonly records = new Map<string, T>();
  private readonly writes = new Map<string, Promise<void>>();
  private readonly followers: Follower<T>[] = [];
  /** Ids of records that are broken, now or at an earlier start: nobody knows what is theirs, so it stays. */
  readonly setAside = new Set<string>();

  private constructor(private readonly folder: string) {}

  /**
   * Reads what is there. A file whose text is no record is set aside, never deleted.
   * @throws ConfigError where a file can't be read: without its record a sandbox would be nobody's
   */
  static async open<T extends { id: string }>(folder: string, schema: z.ZodType<T>, log: StoreLog) {
    const store = new RecordStore<T>(folder);
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const names = await readdir(folder);
    const broken: { id: string; err: string }[] = [];
    const lane = async () => {
      for (let name = names.pop(); name !== undefined; name = names.pop()) {
        const err = await store.read(name, schema);
        if (err !== undefined) broken.push({ id: name.slice(0, -".json".length), err });
      }
    };
    await Promise.all(Array.from({ length: READS_AT_ONCE }, lane));
    // Only once all could be read: a start that fails changes nothing.
    for (const { id, err } of broken) {
      log.error({ path: store.path(id), err }, "a record is broken; it is set aside");
      await rename(store.path(id), join(folder, `${id}${SET_ASIDE}`));
      store.setAside.add(id);
    }
    return store;
  }

  get = (id: string): T | undefined => this.records.get(id);
  all = (): IterableIterator<T> => this.records.values();
  get size(): number {
    return this.records.size;
  }

  /** Has a function called for each record that is there and, from here on, for each change at once. */
  follow(follower: Follower<T>): void {
    this.followers.push(follower);
    for (const record of this.records.values()) follower(undefined, record);
  }

  /** Replaces or adds a record. Memory changes at once, the promise waits for the disk. @throws ServiceError diskFull */
  put(record: T): Promise<void> {
    this.change(record.id, record);
    return this.afterOthers(record.id, async () => {
      // A later change may have come in between: the newest is what belongs on disk.
      const newest = this.records.get(record.id);
      if (newest) await writeFileAtomically(this.path(record.id), JSON.stringify(newest));
    });
  }

  delete(id: string): Promise<void> {
    this.change(id, undefined);
    return this.afterOthers(id, async () => {
      if (!this.records.has(id)) await removeFileDurably(this.path(id));
    });
  }

  /** Resolves when what was asked for of one record so far has reached the disk, or could not. Never rejects. */
  async written(id: string): Promise<void> {
    await this.writes.get(id)?.catch(() => undefined);
  }

  /** Resolves when everything asked for so far has reached the disk. */
  async flush(): Promise<void> {
    await Promise.allSettled(this.writes.values());
  }

  private change(id: string, record: T | undefined): void {
    const before = this.records.get(id);
    if (record) this.records.set(id, record);
    else this.records.delete(id);
    for (const follower of this.followers) follower(before, record);
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

  /** @returns why a record is broken */
  private async read(name: string, schema: z.ZodType<T>): Promise<string | undefined> {
    const path = join(this.folder, name);
    if (name.endsWith(".tmp")) await unlink(path).catch(() => undefined);
    if (name.endsWith(SET_ASIDE)) this.setAside.add(name.slice(0, -SET_ASIDE.length));
    if (!name.endsWith(".json")) return undefined;
    const text = await readFile(path, "utf8").catch((error) => {
      throw cantRead(path, error);
    });
    try {
      const record = schema.parse(JSON.parse(text));
      this.records.set(record.id, record);
      return undefined;
    } catch (error) {
      return String(error);
    }
  }

  private path = (id: string) => join(this.folder, `${id}.json`);
}

const SET_ASIDE = ".json.unreadable";

const cantRead = (path: string, error: unknown) =>
  new ConfigError(
    `The record ${path} can't be read: ${errorText(error)}.\n` +
      `Nothing was changed. All of the state volume has to be readable and writable for the server's user (${process.getuid?.()}): ` +
      "see to that, and start the server again.",
  );
