import { setImmediate as nextTurn, setTimeout as sleep } from "node:timers/promises";
import { noUsage, type Sandbox, type Usage } from "../../sandboxes/backend";
import type { Changes, Mirrored } from "../../sandboxes/changes";
import { SandboxRow } from "../../sandboxes/sandbox-row";
import type { Owner } from "../../sandboxes/scope";
import { SharedRead } from "../../shared-read";

/** What is told of each change. */
export type MirrorWatcher = {
  put: (row: SandboxRow) => void;
  delete: (row: SandboxRow) => void;
};

/** How long after a server has stopped telling of changes it is asked to again. */
const LISTEN_AGAIN_MS = 1_000;

/** Rows that are dropped in one turn of the event loop. */
const AT_ONCE = 500;

/** What was last known of a server's sandboxes: a row of each that its lists hold. */
export class Mirror {
  private readonly sandboxes = new Map<string, SandboxRow>();
  private readonly read: SharedRead;
  private readonly used = new Map<Owner, Usage>();
  private readonly usedByAll = noUsage();
  private moment: string | undefined;
  /** What the server has answered with since it was read, by id. */
  private readonly unread = new Map<string, SandboxRow>();
  /** Counts what makes changes since a moment before it no use. */
  private breaks = 0;
  private watcher: MirrorWatcher | undefined;
  private listening: AbortController | undefined;
  /** Whether the whole of it was read once. */
  isKnown = false;
  /** When it was asked for last, by performance.now(). */
  private readAt = Number.NEGATIVE_INFINITY;
  /** The server tells when something changes: what is known is up to date until it does. */
  private hears = false;

  constructor(private readonly server: Mirrored) {
    this.read = new SharedRead((askedAt) => this.follow(askedAt));
  }

  /** Told of everything that is known, and of every change from here on; until nobody is, of everything as gone. */
  watch(watcher: MirrorWatcher | undefined): void {
    this.listening?.abort();
    this.listening = watcher && new AbortController();
    if (this.listening) void this.listen(this.listening.signal);
    for (const sandbox of this.sandboxes.values()) {
      this.watcher?.delete(sandbox);
      watcher?.put(sandbox);
    }
    this.watcher = watcher;
  }

  /**
   * Resolves when all is known that the server had told before, this router or by an answer that it {@link saw}.
   * @throws ServiceError unavailable
   */
  refresh = (): Promise<void> => this.read.refresh(this.hears ? Number.POSITIVE_INFINITY : 0);

  /** For what need not be exact: it may be so many milliseconds old, whatever was told since. @throws ServiceError unavailable */
  refreshRoughly = async (ms: number): Promise<void> => {
    if (performance.now() - this.readAt > ms) await this.refresh();
  };

  /** Whether {@link refresh} would ask nothing. */
  isCurrent = (): boolean => this.hears && Number.isFinite(this.read.ageMs());

  /** The server has answered with this: whoever has seen it sees nothing older in a list. */
  saw(sandbox: Sandbox): void {
    if (this.sandboxes.get(sandbox.id)?.version === sandbox.version) return;
    this.read.invalidate();
    this.unread.set(sandbox.id, new SandboxRow(sandbox));
  }

  /** The server does not answer: what it has answered with before is taken in as it is, and all is read anew later. */
  keepSeen(): void {
    if (this.unread.size === 0) return;
    for (const sandbox of this.unread.values()) {
      this.drop(sandbox.id);
      if (bearsName(sandbox)) this.put(sandbox);
    }
    this.unread.clear();
    this.moment = undefined;
    this.breaks += 1;
  }

  /** The server has changed something. */
  outdate = (): void => this.read.invalidate();

  get = (id: string): SandboxRow | undefined => this.sandboxes.get(id);

  /** What the sandboxes of one owner use, or all. */
  usage(owner: Owner | undefined): Usage {
    return { ...(owner === undefined ? this.usedByAll : (this.used.get(owner) ?? noUsage())) };
  }

  statuses(): Record<Sandbox["status"], number> {
    const counts = { created: 0, starting: 0, running: 0, stopping: 0, stopped: 0, failed: 0 };
    for (const sandbox of this.sandboxes.values()) counts[sandbox.status] += 1;
    return counts;
  }

  /** Never rejects. While the server tells nothing, every list asks. */
  private async listen(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        for await (const _ of this.server.watchChanges(signal)) {
          this.read.invalidate();
          this.hears = true;
        }
      } catch {
        // It is asked again below.
      }
      this.hears = false;
      await sleep(LISTEN_AGAIN_MS, undefined, { signal, ref: false }).catch(() => undefined);
    }
  }

  /**
   * Takes in each part of an answer in a turn of its own, whatever there is. What is there all the while is in the lists all
   * the while: also where all is told anew, what is not told of goes last.
   */
  private async follow(askedAt: number): Promise<void> {
    const [{ breaks }, seen] = [this, new Map(this.unread)];
    let since = this.moment;
    let told: Set<string> | undefined;
    for (let more = true; more; await nextTurn()) {
      const part = await this.server.changes(since);
      // These are no changes since what was kept meanwhile.
      if (this.breaks !== breaks) return this.follow(askedAt);
      if (part.anew) {
        told = new Set();
        this.moment = undefined;
      }
      this.take(part, told);
      ({ moment: since, more } = part);
      if (!told) this.moment = since;
    }
    if (told) await this.dropAllBut(told);
    if (this.breaks !== breaks) return this.follow(askedAt);
    this.moment = since;
    for (const [id, row] of seen) if (this.unread.get(id) === row) this.unread.delete(id);
    this.isKnown = true;
    this.readAt = askedAt;
  }

  private take({ changed, removed }: Changes, told: Set<string> | undefined): void {
    for (const id of removed) {
      this.drop(id);
      told?.delete(id);
    }
    for (const row of changed) {
      this.drop(row.id);
      this.put(row);
      told?.add(row.id);
    }
  }

  private async dropAllBut(told: Set<string>): Promise<void> {
    const gone = [...this.sandboxes.keys()].filter((id) => !told.has(id));
    for (let at = 0; at < gone.length; at += AT_ONCE) {
      for (const id of gone.slice(at, at + AT_ONCE)) this.drop(id);
      await nextTurn();
    }
  }

  private put(row: SandboxRow): void {
    this.sandboxes.set(row.id, row);
    this.count(row, 1);
    this.watcher?.put(row);
  }

  private drop(id: string): void {
    const sandbox = this.sandboxes.get(id);
    if (!sandbox) return;
    this.sandboxes.delete(id);
    this.count(sandbox, -1);
    this.watcher?.delete(sandbox);
  }

  private count(sandbox: SandboxRow, sign: 1 | -1): void {
    const ofOwner = this.used.get(sandbox.owner) ?? noUsage();
    this.used.set(sandbox.owner, ofOwner);
    const usage = usageOf(sandbox);
    for (const sum of [this.usedByAll, ofOwner])
      for (const field of Object.keys(sum) as (keyof Usage)[]) sum[field] += sign * usage[field];
    if (ofOwner.total === 0) this.used.delete(sandbox.owner);
  }
}

function usageOf(sandbox: SandboxRow): Usage {
  const usage = { ...noUsage(), total: 1 };
  if (!holdsRoom(sandbox)) return usage;
  const { vcpus: cpus, memoryMib } = sandbox.size;
  const paused = sandbox.paused ? 1 : 0;
  return { ...usage, running: 1, paused, ephemeralRunning: sandbox.ephemeral ? 1 : 0, memoryMib, cpus };
}

/** Whether it takes something of the limits of what runs. */
export const holdsRoom = ({ status }: Sandbox): boolean =>
  status === "running" || status === "starting" || status === "stopping";

/** One that ended by itself answers to its name only where no other bears it. */
export const bearsName = ({ ephemeral, status, ended }: Sandbox): boolean =>
  !ended && !(ephemeral && (status === "stopped" || status === "failed"));
