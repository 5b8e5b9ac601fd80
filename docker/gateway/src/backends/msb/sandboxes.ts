import { randomUUID } from "node:crypto";
import { invalidSpec, nameTaken, ServiceError } from "../../errors";
import type { CreateRequest } from "../../http/create-request";
import type { Capacity, Share } from "../../limits/capacity";
import { Serial, within } from "../../sandboxes/serial";
import type { SandboxSpec } from "../../sandboxes/spec";
import type { SandboxRecord } from "./sandbox-record";
import { type SandboxRegistry, shareOf } from "./sandbox-registry";
import type { SandboxWorks } from "./sandbox-works";

/** Clients give up on a plain request after 30 seconds; what takes longer goes on behind the answer. */
const ANSWER_WITHIN_MS = 25_000;

export type SandboxesLog = { warn: (fields: object, message: string) => void };

export type StartOptions = {
  /** How long the answer waits for the boot. */
  waitMs: number;
};
export type CreateOptions = StartOptions & {
  start: boolean;
  owner: string | null;
  /** Aborted when the client went away: then nothing of the sandbox may stay. */
  cutOff: AbortSignal;
};

/** The life of sandboxes as clients ask for it: the works of one sandbox one at a time, answers in time. */
export class Sandboxes {
  readonly serial = new Serial();
  /** Creates that are under way, by the record's id. */
  private readonly booting = new Map<string, AbortController>();

  constructor(
    readonly registry: SandboxRegistry,
    readonly capacity: Capacity,
    private readonly works: SandboxWorks,
    private readonly log: SandboxesLog,
  ) {}

  async create(
    { spec, slug, login, anonymous }: CreateRequest,
    options: CreateOptions,
  ): Promise<SandboxRecord> {
    const record = newRecord(spec, slug, options.owner, options.start);
    this.capacity.checkSize(shareOf(record));
    if (login && !options.start) throw invalidSpec("registry: inline credentials need start=true");
    // What can't be planned is refused before anything is written.
    await this.works.plan(spec);
    await this.freeName(spec.name, options.start);
    if (options.start) await this.lookForRoom(shareOf(record));
    // No await between this check and the record that takes the name.
    if (this.registry.holder(spec.name)) throw nameTaken(spec.name);
    if (options.start) this.capacity.reserve(record.id, shareOf(record));
    const saved = this.registry.save(record);
    if (!options.start) return this.whenSaved(record, saved);
    const cancel = new AbortController();
    this.booting.set(record.id, cancel);
    const pull = { login, anonymous, signal: cancel.signal };
    const boot = this.serial
      .run(record.id, () => this.works.boot(record, saved, pull))
      .finally(() => this.booting.delete(record.id));
    return this.awaitCreate(record, boot, options);
  }

  /** Starts a sandbox; one that runs is no error. */
  async start(record: SandboxRecord, { waitMs }: StartOptions): Promise<SandboxRecord> {
    this.works.current(record.id);
    if (!this.registry.alive(record)) await this.lookForRoom(shareOf(record));
    const work = this.serial.run(record.id, () => this.works.start(record.id));
    const started = await within(work, waitMs);
    work.catch(() => undefined);
    return started ?? this.registry.get(record.id) ?? record;
  }

  /** Stops a sandbox; one that does not run is no error. An ephemeral one is removed afterwards. */
  async stop(record: SandboxRecord): Promise<SandboxRecord> {
    const work = this.serial.run(record.id, () => this.works.stop(record.id));
    work.then(
      () => this.finishEphemeral(record.id),
      (error) => this.log.warn({ sandbox: record.id, err: String(error) }, "stop failed"),
    );
    await within(work, ANSWER_WITHIN_MS);
    return this.registry.get(record.id) ?? record;
  }

  /** Removes a sandbox, running or not. */
  async remove(record: SandboxRecord): Promise<void> {
    this.booting.get(record.id)?.abort(new ServiceError("conflict", "the sandbox was removed"));
    const work = this.serial.run(record.id, () => this.works.remove(record.id));
    work.catch((error) => this.log.warn({ sandbox: record.id, err: String(error) }, "remove failed"));
    await within(work, ANSWER_WITHIN_MS);
  }

  /** Removes an ephemeral sandbox that stopped, and lets it answer for a while. */
  finishEphemeral(id: string): Promise<void> {
    return this.serial.run(id, () => this.works.finishEphemeral(id));
  }

  /** A record that no file tells of must not go on holding its name. */
  private async whenSaved(record: SandboxRecord, saved: Promise<void>): Promise<SandboxRecord> {
    try {
      await saved;
      return record;
    } catch (error) {
      await this.registry.drop(record);
      throw error;
    }
  }

  private async awaitCreate(
    record: SandboxRecord,
    boot: Promise<SandboxRecord>,
    { waitMs, cutOff }: CreateOptions,
  ): Promise<SandboxRecord> {
    const gone = new Promise<"gone">((resolve) => {
      if (cutOff.aborted) resolve("gone");
      cutOff.addEventListener("abort", () => resolve("gone"), { once: true });
    });
    let outcome: SandboxRecord | "gone" | undefined;
    try {
      outcome = await within(Promise.race([boot, gone]), waitMs);
    } catch (error) {
      await this.registry.drop(record);
      throw error;
    }
    if (outcome === "gone") {
      this.undo(record, boot);
      throw new ServiceError("conflict", "the client went away before the sandbox was ready");
    }
    if (outcome) return outcome;
    // The client is told "starting": from here on the sandbox is its own, whatever becomes of it.
    boot.catch((error) => this.works.failed(record.id, error)).catch(() => undefined);
    return (await this.registry.update(record.id, { answered: true })) ?? record;
  }

  /** Takes back a create whose client is gone. */
  private undo(record: SandboxRecord, boot: Promise<SandboxRecord>): void {
    this.booting.get(record.id)?.abort(new ServiceError("conflict", "the client went away"));
    const remove = () => this.serial.run(record.id, () => this.works.remove(record.id));
    // Where the boot failed, it has removed what was its own: what bears the name now may be another's.
    boot
      .then(remove, () => this.registry.drop(record))
      .catch((error) => this.log.warn({ sandbox: record.id, err: String(error) }, "undo failed"));
  }

  /** What msb is about to be asked for it refuses itself, if it has one of that name. */
  private async freeName(name: string, start: boolean): Promise<void> {
    if (start && !this.registry.holder(name)) return;
    await this.registry.reconcile();
    const holder = this.registry.holder(name);
    if (holder?.phase === "abandoned" && !this.registry.view.last().has(name))
      await this.registry.drop(holder);
  }

  /** Sandboxes that ended by themselves make room: msb is asked for them before a start is refused. */
  private async lookForRoom(share: Share): Promise<void> {
    if (!this.capacity.hasRoom(share)) await this.registry.reconcile(0);
  }
}

function newRecord(spec: SandboxSpec, slug: string, owner: string | null, start: boolean): SandboxRecord {
  return {
    id: randomUUID(),
    name: spec.name,
    slug,
    owner,
    phase: start ? "creating" : "pending",
    answered: !start,
    ephemeral: spec.lifecycle.ephemeral,
    spec,
    resolved: null,
    createdAt: new Date().toISOString(),
    startedAt: null,
    stoppedAt: null,
    expiresAt: null,
    keepUntil: null,
    lastFailure: null,
  };
}
