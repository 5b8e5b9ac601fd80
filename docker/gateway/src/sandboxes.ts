import { randomUUID } from "node:crypto";
import type { Capacity } from "./capacity";
import { planCreate } from "./create-plan";
import type { CreateRequest, RegistryLogin } from "./create-request";
import { ApiError, invalidConfig, nameTaken } from "./errors";
import type { MsbSandboxes } from "./msb-sandboxes";
import type { SandboxRecord } from "./sandbox-record";
import { type SandboxRegistry, shareOf } from "./sandbox-registry";
import type { SandboxSpec } from "./schema/sandbox";
import { Serial, within } from "./serial";

/** Clients give up on a plain request after 30 seconds; what takes longer goes on behind the answer. */
const ANSWER_WITHIN_MS = 25_000;

export type SandboxesOptions = {
  msbVersion: () => Promise<string>;
  autoPull: boolean;
  /** Seconds that a guest gets to stop before it is killed. */
  stopGraceSeconds: number;
  log: { warn: (fields: object, message: string) => void };
  /** Called after each boot, for the metrics. */
  booted: (seconds: number, ok: boolean) => void;
};

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

/** The life of sandboxes: create, start, stop, remove; the works of one sandbox one at a time. */
export class Sandboxes {
  readonly serial = new Serial();

  constructor(
    readonly registry: SandboxRegistry,
    readonly capacity: Capacity,
    private readonly msb: MsbSandboxes,
    private readonly options: SandboxesOptions,
  ) {}

  async create({ spec, slug, login }: CreateRequest, options: CreateOptions): Promise<SandboxRecord> {
    const record = newRecord(spec, slug, options.owner, options.start);
    this.capacity.checkSize(shareOf(record));
    if (login && !options.start) throw invalidConfig("registry: inline credentials need start=true");
    // What can't be planned is refused before anything is written.
    await this.plan(spec, login);
    await this.freeName(spec.name);
    // No await between this check and the record that takes the name.
    if (this.registry.holder(spec.name)) throw nameTaken(spec.name);
    if (options.start) this.capacity.reserve(record.id, shareOf(record));
    const saved = this.registry.save(record);
    if (!options.start) return this.whenSaved(record, saved);
    const boot = this.serial.run(record.id, () => this.boot(record, saved, login));
    return this.awaitCreate(record, boot, options);
  }

  /** Starts a sandbox; one that runs is no error. */
  async start(record: SandboxRecord, { waitMs }: StartOptions): Promise<SandboxRecord> {
    this.current(record.id);
    const work = this.serial.run(record.id, () => this.startNow(record.id));
    const started = await within(work, waitMs);
    work.catch(() => undefined);
    return started ?? this.registry.get(record.id) ?? record;
  }

  /** Stops a sandbox; one that does not run is no error. An ephemeral one is removed afterwards. */
  async stop(record: SandboxRecord): Promise<SandboxRecord> {
    const work = this.serial.run(record.id, () => this.stopNow(record.id));
    work.then(
      () => this.finishEphemeral(record.id),
      (error) => this.options.log.warn({ sandbox: record.id, err: String(error) }, "stop failed"),
    );
    await within(work, ANSWER_WITHIN_MS);
    return this.registry.get(record.id) ?? record;
  }

  /** Removes a sandbox, running or not. */
  async remove(record: SandboxRecord): Promise<void> {
    const work = this.serial.run(record.id, () => this.removeNow(record.id));
    work.catch((error) => this.options.log.warn({ sandbox: record.id, err: String(error) }, "remove failed"));
    await within(work, ANSWER_WITHIN_MS);
  }

  /** Removes an ephemeral sandbox that stopped, and lets it answer for a while. */
  finishEphemeral(id: string): Promise<void> {
    return this.serial.run(id, async () => {
      const record = this.registry.get(id);
      if (!record?.ephemeral || record.phase !== "known" || this.registry.alive(record)) return;
      await this.msb.remove(record.name);
      this.registry.view.forget(record.name);
      await this.registry.bury(record);
    });
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
      const undo = () => this.serial.run(record.id, () => this.removeNow(record.id));
      boot.then(undo, undo).catch((error) => this.options.log.warn({ err: String(error) }, "undo failed"));
      throw new ApiError(
        409,
        "invalid_state_transition",
        "the client went away before the sandbox was ready",
      );
    }
    if (outcome) return outcome;
    // The client is told "starting": from here on the sandbox is its own, whatever becomes of it.
    boot.catch((error) => this.failed(record.id, error)).catch(() => undefined);
    return (await this.registry.update(record.id, { answered: true })) ?? record;
  }

  /** `saved` is the record on its way to the disk: nothing is made of a sandbox that no file tells of. */
  private async boot(
    record: SandboxRecord,
    saved: Promise<void>,
    login?: RegistryLogin,
  ): Promise<SandboxRecord> {
    const { spec } = record;
    if (!spec) throw new Error(`sandbox ${record.id} has no spec to be made from`);
    const began = performance.now();
    this.registry.setBusy(record.id, "starting");
    try {
      await saved;
      await this.msb.create(record.name, await this.plan(spec, login));
      this.registry.view.note(record.name, "running", spec.reference);
      this.options.booted((performance.now() - began) / 1000, true);
      // The patches are in its disk now.
      const made: Partial<SandboxRecord> = {
        phase: "known",
        spec: { ...spec, patches: [] },
        ...startedNow(spec),
      };
      return (await this.registry.update(record.id, made)) ?? record;
    } catch (error) {
      this.options.booted((performance.now() - began) / 1000, false);
      await this.msb.remove(record.name).catch(() => undefined);
      this.registry.view.forget(record.name);
      throw error;
    } finally {
      this.registry.setBusy(record.id, undefined);
      this.capacity.release(record.id);
    }
  }

  private async startNow(id: string): Promise<SandboxRecord> {
    const record = this.current(id);
    if (this.registry.alive(record)) return record;
    this.capacity.reserve(id, shareOf(record));
    if (record.phase === "pending") {
      const creating = { ...record, phase: "creating", answered: true } as const;
      const boot = this.boot(creating, this.registry.save(creating));
      return boot.catch((error) => this.failed(id, error));
    }
    const began = performance.now();
    this.registry.setBusy(id, "starting");
    try {
      await this.msb.start(record.name);
      this.registry.view.note(record.name, "running");
      this.options.booted((performance.now() - began) / 1000, true);
      return (await this.registry.update(id, startedNow(record.spec))) ?? record;
    } catch (error) {
      this.options.booted((performance.now() - began) / 1000, false);
      return await this.failed(id, error);
    } finally {
      this.registry.setBusy(id, undefined);
      this.capacity.release(id);
    }
  }

  private async stopNow(id: string): Promise<void> {
    const record = this.registry.get(id);
    if (record?.phase !== "known" || !this.registry.alive(record)) return;
    this.registry.setBusy(id, "stopping");
    try {
      await this.msb.stop(record.name, this.options.stopGraceSeconds);
      this.registry.view.note(record.name, "stopped");
      await this.registry.update(id, { stoppedAt: new Date().toISOString(), expiresAt: null });
    } finally {
      this.registry.setBusy(id, undefined);
    }
  }

  private async removeNow(id: string): Promise<void> {
    const record = this.registry.get(id);
    if (!record) return;
    if (record.phase !== "gone" && record.phase !== "pending") {
      this.registry.setBusy(id, "removing");
      try {
        await this.registry.save({ ...record, phase: "removing" });
        await this.msb.remove(record.name);
        this.registry.view.forget(record.name);
      } finally {
        this.registry.setBusy(id, undefined);
      }
    }
    await this.registry.drop(record);
  }

  /** Keeps the reason of a failed start, and passes it on. */
  private async failed(id: string, error: unknown): Promise<never> {
    const lastFailure = error instanceof Error ? error.message : String(error);
    const record = this.registry.get(id);
    const phase = record?.phase === "creating" ? "pending" : record?.phase;
    await this.registry.update(id, { lastFailure, phase });
    throw error;
  }

  private current(id: string): SandboxRecord {
    const record = this.registry.get(id);
    if (!record || record.phase === "gone" || record.phase === "removing" || record.phase === "abandoned")
      throw new ApiError(404, "sandbox_not_found", "the sandbox was removed");
    return record;
  }

  private async freeName(name: string): Promise<void> {
    await this.registry.reconcile();
    const holder = this.registry.holder(name);
    if (holder?.phase === "abandoned" && !this.registry.view.last().has(name))
      await this.registry.drop(holder);
  }

  private async plan(spec: SandboxSpec, login?: RegistryLogin) {
    const { autoPull, msbVersion } = this.options;
    return planCreate(spec, { msbVersion: await msbVersion(), autoPull, login });
  }
}

function startedNow(spec: SandboxSpec | null): Partial<SandboxRecord> {
  const now = Date.now();
  const seconds = spec?.lifecycle.max_duration_secs;
  return {
    startedAt: new Date(now).toISOString(),
    stoppedAt: null,
    expiresAt: seconds ? now + seconds * 1000 : null,
    lastFailure: null,
  };
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
