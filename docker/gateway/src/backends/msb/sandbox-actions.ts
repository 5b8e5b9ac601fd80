import { isDeepStrictEqual } from "node:util";
import { isKind, ServiceError } from "../../errors";
import type { RegistryLogin } from "../../sandboxes/backend";
import { CompactSpec } from "../../sandboxes/compact-spec";
import { keptSpec } from "../../sandboxes/payload";
import type { SandboxSpec } from "../../sandboxes/spec";
import { type Actions, NothingMade } from "./actions";
import type { CreatePlan } from "./create-plan";
import type { EgressPolicy } from "./egress";
import type { EgressLimit } from "./egress-limit";
import type { Forks } from "./forks";
import type { ImageCache } from "./image-cache";
import type { PayloadStore } from "./payload-store";
import { restoreArguments } from "./restore-plan";
import type { SandboxCommands } from "./sandbox-commands";
import { type SandboxRecord, sharedPolicy } from "./sandbox-record";
import type { WarmPool } from "./warm-pool";
import { refuseWiderNetwork } from "./wider-network";

/** How long a create waits for its image. */
const PREPARE_MS = 15 * 60_000;

export type ActionOptions = {
  commands: SandboxCommands;
  images: Pick<ImageCache, "withImage">;
  payloads: Pick<PayloadStore, "whole">;
  /** What msb is to be asked for, under that policy. */
  planOf: (
    spec: SandboxSpec,
    reference: string,
    egress: EgressPolicy,
    volumeHandles: Record<string, string>,
  ) => Promise<CreatePlan>;
  autoPull: boolean;
  /** What guests may reach at most. */
  egress: EgressLimit;
  /** Changes the record of a sandbox; on disk when it resolves. @throws ServiceError diskFull */
  note: (id: string, change: Partial<SandboxRecord>) => Promise<void>;
  /** Seconds that a guest gets to stop before it is killed. */
  stopGraceSeconds: number;
  /** What came with a create for the pull of its image, until it is over. */
  pullOf: (id: string) => { login?: RegistryLogin; anonymous?: boolean } | undefined;
  /** Holds a snapshot until `release`. @throws ServiceError snapshotNotFound where it is no more */
  useSnapshot: (id: string) => { selector: string; layers: number; release: () => void };
  /** Makes one that was asked for as a fork, with the others of its request. */
  makeFork: Forks["make"];
  /** msb's names of the volumes of a record, by the names in its spec. @throws ServiceError where one is no more */
  volumeHandles: (record: SandboxRecord) => Record<string, string>;
  warm: Pick<WarmPool, "claim" | "started" | "giveWay" | "released">;
  /** Called after each boot, for the metrics. */
  booted: (seconds: number, ok: boolean) => void;
};

/** What is done to a sandbox in msb, from its record. */
export function sandboxActions(options: ActionOptions): Actions {
  const { commands } = options;

  return {
    async make(record, signal) {
      const { id, handle, state, owner } = record;
      const spec = record.spec?.whole();
      if (!spec)
        throw new NothingMade(new ServiceError("conflict", "it was made with msb itself, and is no more"));
      if (record.forkOf !== null) return { ...(await options.makeFork(record, signal)), ...lifetime(spec) };
      if (record.snapshot !== null) return restored(options, record, spec, record.snapshot, signal);
      const request = {
        ...{ reference: spec.reference, pullPolicy: spec.pull_policy, autoPull: options.autoPull, signal },
        ...{ owner: owner ?? "", deadlineMs: Date.now() + PREPARE_MS, ...options.pullOf(id) },
      };
      let asked = false;
      let claimed: Partial<SandboxRecord>;
      try {
        // A pull would fail as well, without saying why.
        options.egress.required();
        claimed = await options.images.withImage(request, async (image) => {
          const whole = await options.payloads.whole(id, spec);
          const limit = options.egress.required();
          const plan = await options.planOf(whole, image.reference, limit, options.volumeHandles(record));
          // Remains of a boot that failed.
          if (state === "unmade") await commands.remove(handle, { signal, owner });
          await noteLimit(options, record, limit);
          const warm = await options.warm.claim(whole, plan, image, signal);
          if (warm) return warm;
          asked = true;
          await options.warm.giveWay();
          await timed(options, () => commands.create(handle, plan, { signal, owner, before: image.recheck }));
          return {};
        });
      } catch (error) {
        if (!asked) throw new NothingMade(error);
        await commands.remove(handle, { owner }).catch(() => undefined);
        throw error;
      }
      // Its disk holds the patches and scripts now, msb itself the secrets.
      return { ...claimed, spec: new CompactSpec(keptSpec(spec)), ...lifetime(spec) };
    },

    async start({ handle, name, owner, spec, egress, expiresAt }, signal) {
      refuseWiderNetwork({ name, spec, egress }, options.egress.known());
      await options.warm.giveWay();
      await timed(options, () => commands.start(handle, { signal, owner }));
      const whole = spec?.whole();
      await options.warm.started(handle, whole, signal);
      // A restart of the server gives nobody more time.
      const goesOn = expiresAt !== null && Date.parse(expiresAt) > Date.now();
      return goesOn ? {} : lifetime(whole);
    },

    async pause({ handle, owner }, signal) {
      await commands.pause(handle, { signal, owner });
      return {};
    },

    async resume({ handle, owner }, signal) {
      await commands.resume(handle, { signal, owner });
      return {};
    },

    async stop({ handle, owner, state }, signal) {
      // A guest that stands still can't stop by itself. One that can't be resumed is stopped by force after its time.
      if (state === "paused") await commands.resume(handle, { signal, owner }).catch(unless(signal));
      await commands.stop(handle, options.stopGraceSeconds, { signal, owner });
      return { expiresAt: null };
    },

    async remove({ handle, owner }) {
      await commands.remove(handle, { owner });
      options.warm.released(handle);
      return {};
    },
  };
}

/** Makes a sandbox of a snapshot, under the same limits as one of an image. */
async function restored(
  { commands, volumeHandles, ...options }: ActionOptions,
  record: SandboxRecord,
  spec: SandboxSpec,
  snapshot: string,
  signal: AbortSignal,
): Promise<Partial<SandboxRecord>> {
  const { handle, state } = record;
  const call = { signal, owner: record.owner ?? "" };
  let source: ReturnType<ActionOptions["useSnapshot"]> | undefined;
  let asked = false;
  try {
    source = options.useSnapshot(snapshot);
    const { selector, layers } = source;
    const egress = options.egress.required();
    const args = restoreArguments(spec, { egress, volumeHandles: volumeHandles(record) });
    // Remains of a boot that failed.
    if (state === "unmade") await commands.remove(handle, call);
    await noteLimit(options, record, egress);
    asked = true;
    await options.warm.giveWay();
    await timed(options, () => commands.restore(handle, selector, args, call));
    return { layers, ...lifetime(spec) };
  } catch (error) {
    if (!asked) throw new NothingMade(error);
    await commands.remove(handle, { owner: call.owner }).catch(() => undefined);
    throw error;
  } finally {
    source?.release();
  }
}

/**
 * The rules of a sandbox last as long as it does, so its record must tell what they were made from, even after a crash:
 * before msb is asked, and after what an earlier boot left is gone.
 */
async function noteLimit({ note }: Pick<ActionOptions, "note">, made: SandboxRecord, limit: EgressPolicy) {
  if (!isDeepStrictEqual(made.egress, limit)) await note(made.id, { egress: sharedPolicy(limit) });
}

/** For what may fail: only that it was cancelled counts. */
const unless = (signal: AbortSignal) => () => signal.throwIfAborted();

async function timed<T>({ booted }: Pick<ActionOptions, "booted">, boot: () => Promise<T>): Promise<T> {
  const began = performance.now();
  const tell = (ok: boolean) => booted((performance.now() - began) / 1000, ok);
  try {
    const result = await boot();
    tell(true);
    return result;
  } catch (error) {
    // One that was cancelled says nothing of boots.
    if (!isKind(error, "conflict")) tell(false);
    throw error;
  }
}

function lifetime(spec: SandboxSpec | undefined): Partial<SandboxRecord> {
  const seconds = spec?.lifecycle.max_duration_secs;
  return { expiresAt: seconds ? new Date(Date.now() + seconds * 1000).toISOString() : null };
}
