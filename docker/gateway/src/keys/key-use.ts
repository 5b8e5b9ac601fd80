import { readFileSync } from "node:fs";
import * as z from "zod";
import { writeFileAtomically } from "../files/atomic-file";

const WRITE_EVERY_MS = 60_000;

const uses = z.record(z.string(), z.iso.datetime());

/** When each key was last used, by its id: in memory for every request, on the state volume once a minute. */
export class KeyUse {
  private readonly last: Map<string, string>;
  private changed = false;
  private writtenAt = Number.NEGATIVE_INFINITY;

  /** @param path the file; one that can't be read counts as empty */
  constructor(private readonly path: string) {
    this.last = new Map(Object.entries(readUses(path)));
  }

  note(id: string, now = new Date()): void {
    this.last.set(id, now.toISOString());
    this.changed = true;
  }

  /** Forgets the ids that are none of these. */
  keep(ids: Set<string>): void {
    for (const id of this.last.keys()) if (!ids.has(id)) this.changed = this.last.delete(id);
  }

  /** Writes what has changed, at most once a minute unless it is `urgent`; what failed is written the next time. */
  async save(urgent = false): Promise<void> {
    if (!this.changed || (!urgent && performance.now() - this.writtenAt < WRITE_EVERY_MS)) return;
    this.changed = false;
    this.writtenAt = performance.now();
    try {
      await writeFileAtomically(this.path, `${JSON.stringify(Object.fromEntries(this.last))}\n`);
    } catch (error) {
      this.changed = true;
      throw error;
    }
  }
}

function readUses(path: string): z.infer<typeof uses> {
  try {
    return uses.parse(JSON.parse(readFileSync(path, "utf8")));
  } catch {
    return {};
  }
}
