import { existsSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { errorText } from "../../errors";
import { LineBudget } from "../../limits/line-budget";
import { SharedPlaces } from "../../limits/shared-places";
import type { Owner } from "../../sandboxes/backend";
import { SharedRead } from "../../shared-read";
import { within } from "../../within";
import type { LifecycleLog } from "./lifecycle";
import { runProcess } from "./process";
import { BLOCK_BYTES } from "./volume-files/byte-quota";
import type { VolumeIndex } from "./volume-index";
import type { VolumeRecord } from "./volume-record";

/** Owners whose folders are measured at once. */
const AT_ONCE = 2;
/** Milliseconds between two measures of what guests may change, at least. */
const EVERY_MS = 120_000;
/** A measure is followed by a pause of so many times what it took, at least. */
const PAUSES = 9;
/** How long an upload waits for what was freed to be counted. */
const SETTLE_MS = 5_000;
/** A tree may be large, and nobody waits for it. */
const TIMEOUT_MS = 24 * 3600_000;
/** KiB of memory that one process may take: what guests make decides how much it would. */
const MEMORY_KIB = 131_072;
/** What is kept of what it says is wrong: it may say so of each file. */
const KEPT_STDERR = 4_096;
const FAILURES = { burst: 5, perSecond: 0.1 };
const NOBODY = Symbol("nobody");

type OfOwner = {
  /** Ids of the volumes that may have changed since their last measure began. */
  changed: Set<string>;
  measure: SharedRead;
  /** Milliseconds that the last measure took, without the time in which it waited for its place. */
  tookMs: number;
  running: boolean;
  endedAt: number;
};

export type FolderBytesOptions = {
  index: VolumeIndex;
  path: (handle: string) => string;
  /** Whether guests may write to it now. */
  isWritten: (record: VolumeRecord) => boolean;
  log: Pick<LifecycleLog, "warn" | "error">;
};

/**
 * Measures what is in the folders of volumes, now and then, where something may have changed: for each owner by itself, and
 * in processes of its own. What comes through the gateway counts at once; what guests write counts with the next measure.
 */
export class FolderBytes {
  private readonly owners = new Map<Owner, OfOwner>();
  private readonly places = new SharedPlaces(AT_ONCE, "measures of volumes");
  private readonly closing = new AbortController();
  private readonly lines: LineBudget;

  constructor(private readonly options: FolderBytesOptions) {
    this.lines = new LineBudget(options.log, { rate: FAILURES, what: "measures of volumes that failed" });
  }

  close(): void {
    this.closing.abort();
    this.lines.close();
  }

  /** Something in it has changed, or may have. */
  note({ id, owner }: Pick<VolumeRecord, "id" | "owner">): void {
    this.of(owner).changed.add(id);
  }

  /** Begins what is due. */
  sweep(): void {
    const { index, isWritten } = this.options;
    for (const record of index.folders(undefined))
      if (!index.isMeasured(record.id) || isWritten(record)) this.note(record);
    for (const [owner, { changed, tookMs, running, endedAt }] of this.owners) {
      const isDue = performance.now() - endedAt >= Math.max(EVERY_MS, PAUSES * tookMs);
      if (running || !isDue) continue;
      if (changed.size === 0) this.owners.delete(owner);
      else void this.refresh(owner);
    }
  }

  /** Waits a little until what was freed of an owner's volumes is counted. Never rejects. */
  async settle(owner: Owner): Promise<void> {
    const { changed, tookMs, endedAt } = this.of(owner);
    if (changed.size === 0) return;
    const pause = endedAt + PAUSES * tookMs - performance.now();
    if (pause > SETTLE_MS) return;
    if (pause > 0) await sleep(pause);
    await within(this.refresh(owner), SETTLE_MS);
  }

  private of(owner: Owner): OfOwner {
    const known = this.owners.get(owner);
    if (known) return known;
    const read = () => this.places.run(owner ?? NOBODY, this.closing.signal, () => this.measure(owner));
    const measure = new SharedRead(read);
    const endedAt = Number.NEGATIVE_INFINITY;
    const made = { changed: new Set<string>(), measure, tookMs: 0, running: false, endedAt };
    this.owners.set(owner, made);
    return made;
  }

  /** A measure that begins now. Never rejects. */
  private async refresh(owner: Owner): Promise<void> {
    const own = this.of(owner);
    own.running = true;
    try {
      await own.measure.refresh(0);
    } catch (error) {
      if (!this.closing.signal.aborted && this.lines.take(owner ?? ""))
        this.options.log.warn(
          { owner, err: errorText(error) },
          "volumes could not be measured; tried again later",
        );
    } finally {
      own.running = false;
      own.endedAt = performance.now();
    }
  }

  /** One folder after the other, whatever fails of them. @throws Error the first failure */
  private async measure(owner: Owner): Promise<void> {
    const { index, isWritten } = this.options;
    const own = this.of(owner);
    const due = [...index.folders(owner)].filter(({ id }) => own.changed.has(id));
    // Without those that are no more.
    own.changed = new Set(due.map(({ id }) => id));
    const failures: unknown[] = [];
    const begunAt = performance.now();
    for (const record of due) {
      const { id, handle } = record;
      // Of what is written from here on, the next measure tells.
      if (!isWritten(record)) own.changed.delete(id);
      index.beginMeasure(id);
      try {
        index.measured(id, await this.bytesIn(this.options.path(handle)));
      } catch (error) {
        own.changed.add(id);
        failures.push(error);
      }
    }
    own.tookMs = performance.now() - begunAt;
    if (failures.length > 0) throw failures[0];
  }

  /**
   * Without the folder itself; 0 where that went meanwhile. GNU du goes down a tree of any depth without paths. It keeps
   * in memory which files with several links it has seen: where these are too many, each link counts.
   */
  private async bytesIn(folder: string): Promise<number> {
    const first = await this.measured(folder);
    const { bytes, why } = first.bytes === undefined ? await this.measured(folder, "--count-links") : first;
    if (bytes !== undefined) return Math.max(0, bytes - BLOCK_BYTES);
    if (existsSync(folder)) throw new Error(why);
    return 0;
  }

  /** Without a figure, why there is none: du says it last, of the whole folder. */
  private async measured(folder: string, ...options: string[]): Promise<{ bytes?: number; why: string }> {
    const du = ["du", "--summarize", "--one-file-system", "--null", "--block-size=1", ...options];
    const { code, stdout, stderr } = await runProcess(
      "sh",
      ["-c", `ulimit -v ${MEMORY_KIB} && exec "$@"`, "sh", ...du, "--", folder],
      {
        env: { PATH: process.env.PATH, LC_ALL: "C" },
        ...{ timeoutMs: TIMEOUT_MS, signal: this.closing.signal, inBackground: true },
        mostStderr: KEPT_STDERR,
      },
    );
    const [, bytes] = /^(\d+)\t/.exec(stdout) ?? [];
    return { bytes: bytes === undefined ? undefined : Number(bytes), why: `du: ${code}: ${stderr}` };
  }
}
