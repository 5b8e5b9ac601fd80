import { noUsage, type Sandbox, type Usage } from "../../sandboxes/backend";
import type { Changes } from "../../sandboxes/changes";
import type { Owner } from "../../sandboxes/scope";
import { SharedRead } from "../../shared-read";

/** What is told of each change. */
export type MirrorWatcher = {
  put: (sandbox: Sandbox) => void;
  delete: (sandbox: Sandbox) => void;
};

/** What was last known of a server's sandboxes: those that its lists hold. */
export class Mirror {
  private readonly sandboxes = new Map<string, Sandbox>();
  private readonly read: SharedRead;
  private moment: string | undefined;
  private watcher: MirrorWatcher | undefined;

  constructor(private readonly ask: (since: string | undefined) => Promise<Changes>) {
    this.read = new SharedRead(() => this.follow());
  }

  /** Told of everything that is known, and of every change from here on; until nobody is, of everything as gone. */
  watch(watcher: MirrorWatcher | undefined): void {
    for (const sandbox of this.sandboxes.values()) {
      this.watcher?.delete(sandbox);
      watcher?.put(sandbox);
    }
    this.watcher = watcher;
  }

  /** Resolves when all is known that had been answered to anybody before. @throws ServiceError unavailable */
  refresh = (): Promise<void> => this.read.refresh(0);

  get = (id: string): Sandbox | undefined => this.sandboxes.get(id);

  /** What the sandboxes of one owner use, or all. */
  usage(owner: Owner | undefined): Usage {
    const sum = noUsage();
    for (const sandbox of this.sandboxes.values()) {
      if (owner !== undefined && sandbox.owner !== owner) continue;
      sum.total += 1;
      if (!holdsRoom(sandbox)) continue;
      const { vcpus, memoryMib } = sizeOf(sandbox);
      sum.running += 1;
      sum.paused += sandbox.paused ? 1 : 0;
      sum.ephemeralRunning += sandbox.ephemeral ? 1 : 0;
      sum.memoryMib += memoryMib;
      sum.cpus += vcpus;
    }
    return sum;
  }

  statuses(): Record<Sandbox["status"], number> {
    const counts = { created: 0, starting: 0, running: 0, stopping: 0, stopped: 0, failed: 0 };
    for (const sandbox of this.sandboxes.values()) counts[sandbox.status] += 1;
    return counts;
  }

  private async follow(): Promise<void> {
    let parts: Changes[] = [];
    for (let more = true; more; ) {
      const part = await this.ask(parts.at(-1)?.moment ?? this.moment);
      parts = part.anew ? [part] : [...parts, part];
      more = part.more;
    }
    // All at once: nobody sees a half of what is there.
    for (const part of parts) this.take(part);
  }

  private take({ anew, changed, removed, moment }: Changes): void {
    if (anew) for (const id of [...this.sandboxes.keys()]) this.drop(id);
    for (const id of removed) this.drop(id);
    for (const sandbox of changed) {
      this.drop(sandbox.id);
      this.sandboxes.set(sandbox.id, sandbox);
      this.watcher?.put(sandbox);
    }
    this.moment = moment;
  }

  private drop(id: string): void {
    const sandbox = this.sandboxes.get(id);
    if (!sandbox) return;
    this.sandboxes.delete(id);
    this.watcher?.delete(sandbox);
  }
}

/** Whether it takes something of the limits of what runs. */
export const holdsRoom = ({ status }: Sandbox): boolean =>
  status === "running" || status === "starting" || status === "stopping";

/** What it takes of them. */
export const sizeOf = ({ spec, resolved }: Sandbox): { vcpus: number; memoryMib: number } => ({
  vcpus: spec?.resources.vcpus ?? resolved?.vcpus ?? 1,
  memoryMib: spec?.resources.memory_mib ?? resolved?.memoryMib ?? 512,
});
