import { mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import * as z from "zod";
import { errorText } from "../../errors";
import { removeFileDurably, writeFileAtomically } from "../../files/atomic-file";
import type { SandboxRegistry } from "./sandbox-registry";
import type { Sandboxes } from "./sandboxes";

export type ResumeLog = Record<"info" | "warn" | "error", (fields: object, message: string) => void>;

const nameList = z.array(z.string());

/** Boots at once: each takes a CPU for a moment, and the API is served meanwhile. */
const AT_ONCE = 4;
/** How long one boot may take before the next has its turn. */
const BOOT_WAIT_MS = 5 * 60_000;

/**
 * The sandboxes that ran when the server was stopped run again after its next start, with their disks: a changed
 * setting, an upgrade, a backup or a reboot of the host ends none of them. After a crash nothing is started.
 */
export class Resume {
  private readonly file: string;
  /** Not started yet: a stop in the middle keeps them for the next start. */
  private readonly waiting = new Set<string>();

  constructor(
    home: string,
    private readonly sandboxes: Sandboxes,
    private readonly registry: SandboxRegistry,
    private readonly log: ResumeLog,
  ) {
    this.file = join(home, "gateway", "resume.json");
  }

  /** Notes what runs, before it is stopped. */
  async note(running: string[]): Promise<void> {
    // What an earlier stop noted and this process did not come to is still due.
    const names = [...new Set([...(await this.noted()), ...running, ...this.waiting])];
    if (names.length === 0) return;
    await mkdir(join(this.file, ".."), { recursive: true, mode: 0o700 });
    await writeFileAtomically(this.file, JSON.stringify(names));
  }

  /** Starts what was noted, each once: one that brings the server down is not tried for ever. Never throws. */
  async run(): Promise<void> {
    try {
      for (const name of await this.noted()) this.waiting.add(name);
      if (this.waiting.size === 0) return;
      await removeFileDurably(this.file);
      this.log.info({ sandboxes: [...this.waiting] }, "starting what ran before the server was stopped");
      await this.registry.reconcile();
      const names = [...this.waiting];
      await Promise.all(Array.from({ length: AT_ONCE }, () => this.work(names)));
    } catch (error) {
      this.log.error({ err: errorText(error) }, "could not tell what ran before");
    }
  }

  private async noted(): Promise<string[]> {
    const text = await readFile(this.file, "utf8").catch(() => "[]");
    return nameList.parse(JSON.parse(text));
  }

  private async work(names: string[]): Promise<void> {
    for (let name = names.shift(); name !== undefined; name = names.shift()) {
      await this.start(name).catch((error) =>
        this.log.warn({ sandbox: name, err: errorText(error) }, "did not start again"),
      );
      this.waiting.delete(name);
    }
  }

  private async start(name: string): Promise<void> {
    const record = this.registry.holder(name);
    const expired = record?.expiresAt != null && record.expiresAt <= Date.now();
    if (!record || record.ephemeral || expired) return;
    const started = await this.sandboxes.start(record, { waitMs: BOOT_WAIT_MS });
    // Its time goes on where it was: a restart of the server gives nobody more.
    if (record.expiresAt !== null) await this.registry.update(started.id, { expiresAt: record.expiresAt });
    this.log.info({ sandbox: record.id }, "started again");
  }
}
