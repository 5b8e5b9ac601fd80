import { isKind, ServiceError } from "../../errors";
import type { RegistryLogin } from "../../http/create-request";
import type { Capacity } from "../../limits/capacity";
import { keptSpec } from "../../sandboxes/payload";
import type { SandboxSpec } from "../../sandboxes/spec";
import { type CreatePlan, planCreate } from "./create-plan";
import { type EgressPolicy, isNoWider } from "./egress";
import type { ImageCache } from "./image-cache";
import type { MsbSandboxes } from "./sandbox-commands";
import type { SandboxRecord } from "./sandbox-record";
import { type SandboxRegistry, shareOf } from "./sandbox-registry";

/** msb may cut its times to whole seconds. */
const CLOCK_STEP_MS = 1_000;

/** How long a create waits for its image. */
const PREPARE_MS = 15 * 60_000;

/** What the request says of its image's registry, and a signal that ends the work. */
export type PullOptions = { login?: RegistryLogin; anonymous?: boolean; signal?: AbortSignal };

export type WorksOptions = {
  msbVersion: () => Promise<string>;
  autoPull: boolean;
  /** What guests may reach at most. */
  egress: EgressPolicy;
  images: Pick<ImageCache, "withImage">;
  /** Seconds that a guest gets to stop before it is killed. */
  stopGraceSeconds: number;
  /** Called after each boot, for the metrics. */
  booted: (seconds: number, ok: boolean) => void;
};

/**
 * The works on one sandbox, each from what the record says to what msb made of it. Whoever calls them sees to
 * it that a sandbox has one work at a time.
 */
export class SandboxWorks {
  constructor(
    private readonly registry: SandboxRegistry,
    private readonly capacity: Capacity,
    private readonly msb: MsbSandboxes,
    private readonly options: WorksOptions,
  ) {}

  /** What msb would be asked for. @throws ServiceError 400 for what this server's msb can't do */
  async plan(spec: SandboxSpec, reference?: string): Promise<CreatePlan> {
    const { egress, msbVersion } = this.options;
    return planCreate(spec, { msbVersion: await msbVersion(), egress, reference });
  }

  /** `saved` is the record on its way to the disk: nothing is made of a sandbox that no file tells of. */
  async boot(record: SandboxRecord, saved: Promise<void>, pull: PullOptions = {}): Promise<SandboxRecord> {
    const { spec } = record;
    if (!spec) throw new Error(`sandbox ${record.id} has no spec to be made from`);
    const began = performance.now();
    const beganAt = Date.now();
    this.registry.setBusy(record.id, "starting");
    try {
      await saved;
      const request = {
        ...{ reference: spec.reference, pullPolicy: spec.pull_policy, autoPull: this.options.autoPull },
        ...{ owner: record.owner ?? "", deadlineMs: Date.now() + PREPARE_MS, ...pull },
      };
      await this.options.images.withImage(request, async ({ reference }) =>
        this.msb.create(record.name, await this.plan(spec, reference), { signal: pull.signal }),
      );
      this.registry.view.note(record.name, "running", spec.reference);
      this.options.booted((performance.now() - began) / 1000, true);
      const made: Partial<SandboxRecord> = {
        ...{ phase: "known", spec: keptSpec(spec), egress: this.options.egress, ...startedNow(spec) },
      };
      return (await this.registry.update(record.id, made)) ?? record;
    } catch (error) {
      this.options.booted((performance.now() - began) / 1000, false);
      if (!isNameTaken(error)) await this.removeMade(record.name, beganAt).catch(() => undefined);
      throw error;
    } finally {
      this.registry.setBusy(record.id, undefined);
      this.capacity.release(record.id);
    }
  }

  async start(id: string): Promise<SandboxRecord> {
    const record = this.current(id);
    if (this.registry.alive(record)) return record;
    refuseWiderNetwork(record, this.options.egress);
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

  async stop(id: string): Promise<void> {
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

  async remove(id: string): Promise<void> {
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

  /** Removes what a failed create left behind; what bears the name for longer was made by somebody else. */
  private async removeMade(name: string, beganAt: number): Promise<void> {
    const row = (await this.registry.view.get(0)).get(name);
    if (!row || Date.parse(row.createdAt) < beganAt - CLOCK_STEP_MS) return;
    await this.msb.remove(name);
    this.registry.view.forget(name);
  }

  /** Removes an ephemeral sandbox that stopped, and lets it answer for a while. */
  async finishEphemeral(id: string): Promise<void> {
    const record = this.registry.get(id);
    if (!record?.ephemeral || record.phase !== "known" || this.registry.alive(record)) return;
    await this.msb.remove(record.name);
    this.registry.view.forget(record.name);
    await this.registry.bury(record);
  }

  /** Keeps the reason of a failed start, and passes it on. */
  async failed(id: string, error: unknown): Promise<never> {
    const lastFailure = error instanceof Error ? error.message : String(error);
    const record = this.registry.get(id);
    const phase = record?.phase === "creating" ? "pending" : record?.phase;
    await this.registry.update(id, { lastFailure, phase });
    throw error;
  }

  /** The record of a sandbox that can be started. @throws ServiceError 404 */
  current(id: string): SandboxRecord {
    const record = this.registry.get(id);
    if (!record || record.phase === "gone" || record.phase === "removing" || record.phase === "abandoned")
      throw new ServiceError("sandboxNotFound", "the sandbox was removed");
    return record;
  }
}

/** msb can't change the network rules of a sandbox that is made. */
function refuseWiderNetwork({ phase, name, spec, egress }: SandboxRecord, now: EgressPolicy): void {
  if (phase === "pending") return;
  // Made without us: msb's own policy is the public internet, and a client's may have been anything.
  const level = spec?.network.policy ? "all" : "public";
  const made = egress ?? { level, grants: [], hostRanges: now.hostRanges };
  if (isNoWider(made, now)) return;
  throw new ServiceError(
    "conflict",
    `${name} was made when sandboxes could reach more of the network than this server allows now; ` +
      "copy its files while the old setting holds, or remove it and make it again",
  );
}

const isNameTaken = (error: unknown) => isKind(error, "nameTaken");

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
