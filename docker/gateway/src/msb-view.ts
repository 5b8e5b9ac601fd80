import type { Listed, MsbSandboxes, MsbStatus } from "./msb-sandboxes";

const MAX_AGE_MS = 1_000;

/**
 * What msb says of all sandboxes, at most a second old. One `msb ls` serves every request that
 * waits for it; what the gateway did itself in between is noted and not asked for.
 */
export class MsbView {
  private rows = new Map<string, Listed>();
  private readAt = Number.NEGATIVE_INFINITY;
  private version = 0;
  /** Changes whenever a row does. */
  revision = 0;
  private reading: Promise<Map<string, Listed>> | undefined;

  constructor(private readonly sandboxes: Pick<MsbSandboxes, "list">) {}

  /** The rows by name; from msb if the last answer is older than that. */
  get(maxAgeMs = MAX_AGE_MS): Promise<Map<string, Listed>> {
    if (performance.now() - this.readAt <= maxAgeMs) return Promise.resolve(this.rows);
    this.reading ??= this.read().finally(() => {
      this.reading = undefined;
    });
    return this.reading;
  }

  /** The rows as last seen. */
  last = (): Map<string, Listed> => this.rows;

  note(name: string, status: MsbStatus, reference = ""): void {
    this.version++;
    this.revision++;
    const before = this.rows.get(name);
    const createdAt = before?.createdAt ?? new Date().toISOString();
    this.rows.set(name, { name, status, createdAt, reference: reference || (before?.reference ?? "") });
  }

  forget(name: string): void {
    this.version++;
    this.revision++;
    this.rows.delete(name);
  }

  private async read(): Promise<Map<string, Listed>> {
    // An answer that was on its way while something changed may be older than the change.
    for (;;) {
      const { version } = this;
      const rows = await this.sandboxes.list();
      if (version !== this.version) continue;
      if (
        rows.length !== this.rows.size ||
        rows.some((row) => this.rows.get(row.name)?.status !== row.status)
      )
        this.revision++;
      this.rows = new Map(rows.map((row) => [row.name, row]));
      this.readAt = performance.now();
      return this.rows;
    }
  }
}
