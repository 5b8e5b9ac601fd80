import { setTimeout as sleep } from "node:timers/promises";
import { noUsage, type Sandbox, type Usage } from "../../sandboxes/backend";
import type { Changes, Mirrored } from "../../sandboxes/changes";
import { CompactSandbox, sizeFrom } from "../../sandboxes/compact-sandbox";
import { CompactSpec } from "../../sandboxes/compact-spec";
import type { Owner } from "../../sandboxes/scope";
import { SharedRead } from "../../shared-read";

/** What is told of each change. */
export type MirrorWatcher = {
  put: (sandbox: CompactSandbox) => void;
  delete: (sandbox: CompactSandbox) => void;
};

/** How long after a server has stopped telling of changes it is asked to again. */
const LISTEN_AGAIN_MS = 1_000;

/** What was last known of a server's sandboxes: those that its lists hold. */
export class Mirror {
  private readonly sandboxes = new Map<string, CompactSandbox>();
  private readonly read: SharedRead;
  private readonly used = new Map<Owner, Usage>();
  private readonly usedByAll = noUsage();
  private moment: string | undefined;
  /** What the server has answered with since it was read, by id. */
  private readonly unread = new Map<string, Sandbox>();
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
    this.unread.set(sandbox.id, sandbox);
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
  }

  /** The server has changed something. */
  outdate = (): void => this.read.invalidate();

  get = (id: string): Sandbox | undefined => this.sandboxes.get(id);

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

  private async follow(askedAt: number): Promise<void> {
    const [since, seen] = [this.moment, new Map(this.unread)];
    let parts: Changes[] = [];
    for (let more = true; more; ) {
      const part = await this.server.changes(parts.at(-1)?.moment ?? since);
      parts = part.anew ? [part] : [...parts, part];
      more = part.more;
    }
    // Changes since then are not those since what was kept meanwhile.
    if (this.moment !== since) return this.follow(askedAt);
    // All at once: nobody sees a half of what is there.
    for (const part of parts) this.take(part);
    for (const [id, sandbox] of seen) if (this.unread.get(id) === sandbox) this.unread.delete(id);
    this.isKnown = true;
    this.readAt = askedAt;
  }

  private take({ anew, changed, removed, moment }: Changes): void {
    if (anew) for (const id of [...this.sandboxes.keys()]) this.drop(id);
    for (const id of removed) this.drop(id);
    for (const sandbox of changed) {
      this.drop(sandbox.id);
      this.put(sandbox);
    }
    this.moment = moment;
  }

  private put(sandbox: Sandbox): void {
    const { version, spec } = sandbox;
    const kept = new CompactSandbox(sandbox, sandbox, version, spec && new CompactSpec(spec));
    this.sandboxes.set(kept.id, kept);
    this.count(kept, 1);
    this.watcher?.put(kept);
  }

  private drop(id: string): void {
    const sandbox = this.sandboxes.get(id);
    if (!sandbox) return;
    this.sandboxes.delete(id);
    this.count(sandbox, -1);
    this.watcher?.delete(sandbox);
  }

  private count(sandbox: CompactSandbox, sign: 1 | -1): void {
    const ofOwner = this.used.get(sandbox.owner) ?? noUsage();
    this.used.set(sandbox.owner, ofOwner);
    const usage = usageOf(sandbox);
    for (const sum of [this.usedByAll, ofOwner])
      for (const field of Object.keys(sum) as (keyof Usage)[]) sum[field] += sign * usage[field];
    if (ofOwner.total === 0) this.used.delete(sandbox.owner);
  }
}

function usageOf(sandbox: CompactSandbox): Usage {
  const usage = { ...noUsage(), total: 1 };
  if (!holdsRoom(sandbox)) return usage;
  const { vcpus: cpus, memoryMib } = sandbox.size;
  const paused = sandbox.paused ? 1 : 0;
  return { ...usage, running: 1, paused, ephemeralRunning: sandbox.ephemeral ? 1 : 0, memoryMib, cpus };
}

/** Whether it takes something of the limits of what runs. */
export const holdsRoom = ({ status }: Sandbox): boolean =>
  status === "running" || status === "starting" || status === "stopping";

/** What it takes of them. */
export function sizeOf({ spec, resolved }: Sandbox): CompactSandbox["size"] {
  const asked = spec && { vcpus: spec.resources.vcpus, memoryMib: spec.resources.memory_mib };
  return sizeFrom(asked, resolved);
}

/** One that ended by itself answers to its name only where no other bears it. */
export const bearsName = ({ ephemeral, status, ended }: Sandbox): boolean =>
  !ended && !(ephemeral && (status === "stopped" || status === "failed"));
