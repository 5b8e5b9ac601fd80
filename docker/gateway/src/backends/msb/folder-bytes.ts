import { setTimeout as sleep } from "node:timers/promises";
import { errorText } from "../../errors";
import { LineBudget } from "../../limits/line-budget";
import { SharedPlaces } from "../../limits/shared-places";
import type { Owner } from "../../sandboxes/backend";
import { SharedRead } from "../../shared-read";
import { within } from "../../within";
import type { LifecycleLog } from "./lifecycle";
import { runProcess } from "./process";
import { BLOCK_BYTES } from "./volume-files/room";
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
/** Folders that one process measures: its arguments have a limit. */
const FOLDERS = 1_000;
const FAILURES = { burst: 5, perSecond: 0.1 };
const NOBODY = Symbol("nobody");

type OfOwner = {
  /** Ids of the volumes that may have changed since their last measure began. */
  changed: Set<string>;
  measure: SharedRead;
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
    for (const [owner, { changed, measure, running, endedAt }] of this.owners) {
      const isDue = performance.now() - endedAt >= Math.max(EVERY_MS, PAUSES * measure.tookMs);
      if (running || !isDue) continue;
      if (changed.size === 0) this.owners.delete(owner);
      else void this.refresh(owner);
    }
  }

  /** Waits a little until what was freed of an owner's volumes is counted. Never rejects. */
  async settle(owner: Owner): Promise<void> {
    const { changed, measure, endedAt } = this.of(owner);
    if (changed.size === 0) return;
    const pause = endedAt + PAUSES * measure.tookMs - performance.now();
    if (pause > SETTLE_MS) return;
    if (pause > 0) await sleep(pause);
    await within(this.refresh(owner), SETTLE_MS);
  }

  private of(owner: Owner): OfOwner {
    const known = this.owners.get(owner);
    if (known) return known;
    const read = () => this.places.run(owner ?? NOBODY, this.closing.signal, () => this.measure(owner));
    const measure = new SharedRead(read);
    const made = { changed: new Set<string>(), measure, running: false, endedAt: Number.NEGATIVE_INFINITY };
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

  private async measure(owner: Owner): Promise<void> {
    const { index, isWritten } = this.options;
    const { changed } = this.of(owner);
    const due = [...index.folders(owner)].filter(({ id }) => changed.has(id));
    changed.clear();
    // Of what is written meanwhile, the next measure tells.
    for (const record of due) if (isWritten(record)) changed.add(record.id);
    for (const { id } of due) index.beginMeasure(id);
    try {
      for (let at = 0; at < due.length; at += FOLDERS) await this.read(due.slice(at, at + FOLDERS));
    } catch (error) {
      for (const { id } of due) changed.add(id);
      throw error;
    }
  }

  /** GNU du goes down a tree of any depth without paths, and keeps no folder in memory. */
  private async read(records: VolumeRecord[]): Promise<void> {
    const paths = records.map(({ handle }) => this.options.path(handle));
    const { code, stdout, stderr } = await runProcess(
      "du",
      ["--summarize", "--one-file-system", "--null", "--block-size=1", "--", ...paths],
      {
        env: { PATH: process.env.PATH, LC_ALL: "C" },
        ...{ timeoutMs: TIMEOUT_MS, signal: this.closing.signal, inBackground: true },
      },
    );
    const lines = stdout.split("\0").map((line) => line.split("\t"));
    const bytes = new Map(lines.map(([size, path]) => [path, Number(size)]));
    for (const [at, { id }] of records.entries()) {
      const found = bytes.get(paths[at]);
      // Its folder went meanwhile.
      if (found === undefined && !stderr.includes("No such file"))
        throw new Error(`du: ${code}: ${stderr.slice(0, 500)}`);
      // Without the folder itself.
      this.options.index.measured(id, Math.max(0, (found ?? 0) - BLOCK_BYTES));
    }
  }
}
