import type { Listed, MsbSandboxes, MsbStatus } from "./sandbox-commands";

const MAX_AGE_MS = 1_000;
/** On a slow machine a list is asked for less often: it is to take a quarter of the time at most. */
const SHARE = 4;

/**
 * What msb says of all sandboxes, at most a second old. One `msb ls` serves every request that
 * waits for it; what the gateway did itself in between is noted and not asked for.
 */
export class MsbView {
  private rows = new Map<string, Listed>();
  private readAt = Number.NEGATIVE_INFINITY;
  private tookMs = 0;
  /** When the gateway last did something with a name, for those done after the last list was asked for. */
  private noted = new Map<string, number>();
  /** Changes whenever a row does. */
  revision = 0;
  private askedAt = Number.NEGATIVE_INFINITY;
  private reading: Promise<Map<string, Listed>> | undefined;
  private following: Promise<Map<string, Listed>> | undefined;

  constructor(private readonly sandboxes: Pick<MsbSandboxes, "list">) {}

  /** The rows by name; from msb if the last answer is to a question older than that. */
  get(maxAgeMs = this.maxAgeMs()): Promise<Map<string, Listed>> {
    const since = performance.now() - maxAgeMs;
    if (this.readAt >= since) return Promise.resolve(this.rows);
    if (!this.reading) return this.start();
    if (this.askedAt >= since) return this.reading;
    // What is under way was asked too early: one more question serves everybody who waits by then.
    this.following ??= this.reading.then(
      () => this.follow(),
      () => this.follow(),
    );
    return this.following;
  }

  private start(): Promise<Map<string, Listed>> {
    this.askedAt = performance.now();
    this.reading = this.read(this.askedAt).finally(() => {
      this.reading = undefined;
    });
    return this.reading;
  }

  private follow(): Promise<Map<string, Listed>> {
    this.following = undefined;
    return this.reading ?? this.start();
  }

  /** Whether msb need not be asked about a sandbox: the list is new, or the gateway's own deed is. */
  isFresh(name: string): boolean {
    const at = Math.max(this.readAt, this.noted.get(name) ?? Number.NEGATIVE_INFINITY);
    return performance.now() - at <= this.maxAgeMs();
  }

  private maxAgeMs = (): number => Math.max(MAX_AGE_MS, SHARE * this.tookMs);

  /** The rows as last seen. */
  last = (): Map<string, Listed> => this.rows;

  note(name: string, status: MsbStatus, reference = ""): void {
    this.noted.set(name, performance.now());
    this.revision++;
    const before = this.rows.get(name);
    const createdAt = before?.createdAt ?? new Date().toISOString();
    this.rows.set(name, { name, status, createdAt, reference: reference || (before?.reference ?? "") });
  }

  forget(name: string): void {
    this.noted.set(name, performance.now());
    this.revision++;
    this.rows.delete(name);
  }

  private async read(began: number): Promise<Map<string, Listed>> {
    const rows = new Map((await this.sandboxes.list()).map((row) => [row.name, row]));
    for (const [name, at] of this.noted) {
      // What the gateway did since it asked is newer than the answer.
      const row = this.rows.get(name);
      if (at < began) this.noted.delete(name);
      else if (row) rows.set(name, row);
      else rows.delete(name);
    }
    const changed = [...rows.values()].some(({ name, status }) => this.rows.get(name)?.status !== status);
    if (changed || rows.size !== this.rows.size) this.revision++;
    this.rows = rows;
    this.readAt = began;
    this.tookMs = performance.now() - began;
    return rows;
  }
}
