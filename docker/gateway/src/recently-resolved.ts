import type { SandboxRecord } from "./sandbox-record";

type Resolution = NonNullable<SandboxRecord["resolved"]>;

/** How long what msb made of a request is taken for what it makes of the next one like it. */
const REMEMBER_MS = 10 * 60_000;
/** Only for sandboxes this young; later ones are worth a question of their own. */
const YOUNG_MS = 30_000;
const MAX_ENTRIES = 500;

/**
 * What msb made of requests (the image's own working folder, user and command filled in), so
 * that a client that connects right after its create need not wait for one more msb process.
 * Two requests are alike if they ask for the same image in the same way.
 */
export class RecentlyResolved {
  private readonly entries = new Map<string, { at: number; resolution: Resolution }>();

  remember(record: SandboxRecord, resolution: Resolution, now = Date.now()): void {
    const key = keyOf(record);
    if (!key) return;
    this.entries.delete(key);
    this.entries.set(key, { at: now, resolution });
    const [oldest] = this.entries.keys();
    if (this.entries.size > MAX_ENTRIES && oldest) this.entries.delete(oldest);
  }

  /** For a young sandbox, what msb made of one like it; undefined if that has to be asked. */
  of(record: SandboxRecord, now = Date.now()): Resolution | undefined {
    const key = keyOf(record);
    const entry = key ? this.entries.get(key) : undefined;
    if (!entry || !record.startedAt) return undefined;
    if (now - entry.at > REMEMBER_MS || now - Date.parse(record.startedAt) > YOUNG_MS) return undefined;
    return entry.resolution;
  }
}

/** Undefined where a tag may mean another image each time. */
function keyOf({ spec }: SandboxRecord): string | undefined {
  if (!spec || spec.pull_policy === "always") return undefined;
  const { workdir, shell, user, entrypoint, cmd } = spec.runtime;
  return JSON.stringify([spec.reference, workdir, shell, user, entrypoint, cmd]);
}
