import { rm } from "node:fs/promises";
import { join } from "node:path";
import { errorText } from "../../errors";
import { removeHalfWritten } from "../../files/atomic-file";
import { Capacity, type Limits, type OwnerLimits } from "../../limits/capacity";
import type { Backend, Owner, Usage } from "../../sandboxes/backend";
import { type SandboxSpec, type SandboxStatus, sandboxStatus } from "../../sandboxes/spec";
import { Msb } from "./command-line";
import { planCreate } from "./create-plan";
import { ownNetworks } from "./egress";
import type { EgressLimit } from "./egress-limit";
import { ImageCache } from "./image-cache";
import { Lifecycle, type LifecycleLog } from "./lifecycle";
import { Liveness } from "./liveness";
import { Modifications } from "./modifications";
import { PayloadStore } from "./payload-store";
import { type Readiness, ReadinessProbe } from "./readiness";
import { Reconciler } from "./reconciler";
import { RecordStore } from "./record-store";
import { recover } from "./recovery";
import { RegistryRules } from "./registry-rules";
import { Resume } from "./resume";
import { sandboxActions } from "./sandbox-actions";
import { SandboxCommands } from "./sandbox-commands";
import { SandboxFolders } from "./sandbox-folders";
import { SandboxIndex } from "./sandbox-index";
import { type SandboxRecord, sandboxRecord } from "./sandbox-record";
import { sandboxOf } from "./sandbox-view";
import { MsbSandboxes, type SandboxesOptions } from "./sandboxes";
import { StarterImage } from "./starter-image";
import { claimState } from "./state-version";
import { StatusCache } from "./status-cache";
import { VolumeFileStore } from "./volume-files/store";
import { volumeRecord } from "./volume-record";
import { MsbVolumes } from "./volumes";

const SWEEP_MS = 10_000;
/** How much of what is known of images' use a crash may lose. */
const FLUSH_MS = 60_000;
/** Longer than most guests need, and less than the 360 s that clients of 0.7.13 wait for a stop. */
export const STOP_GRACE_SECONDS = 330;

export type MsbBackendOptions = {
  /** The msb program, and its home. */
  msbPath: string;
  home: string;
  /** Folder that clients see as the shared volume. */
  workspace: string;
  kvmDevice: string;
  /** Archive of the starter image; "" for none. */
  starterArchive: string;
  autoPull: boolean;
  egress: EgressLimit;
  /** Whether names are for each owner by itself. */
  namesPerOwner: boolean;
  /** Whether what ran when the server was stopped is started again. */
  resume: boolean;
  limits: Limits;
  limitsOf: (owner: Owner) => OwnerLimits;
  /** Seconds that a guest gets to stop at a client's request; default: {@link STOP_GRACE_SECONDS}. */
  stopGraceSeconds?: number;
  /** Bytes of the disks that are to stay free. */
  reserveBytes: number;
  /** Called after each boot. */
  booted: (seconds: number, ok: boolean) => void;
  log: LifecycleLog;
};

/** msb on this machine. */
export class MsbBackend implements Backend {
  private readonly timers: NodeJS.Timeout[] = [];

  private constructor(
    readonly sandboxes: MsbSandboxes,
    readonly volumes: MsbVolumes,
    readonly images: ImageCache,
    private readonly parts: {
      options: MsbBackendOptions;
      msb: Msb;
      index: SandboxIndex;
      lifecycle: Lifecycle;
      reconciler: Reconciler;
      liveness: Liveness;
      folders: SandboxFolders;
      resume: Resume;
      starter: StarterImage;
      probe: ReadinessProbe;
      records: RecordStore<SandboxRecord>;
    },
  ) {}

  /** Reads the records and settles what the last process left. @throws ConfigError for a state that is too new */
  static async open(options: MsbBackendOptions): Promise<MsbBackend> {
    const { home, log, limits, limitsOf, egress, autoPull, namesPerOwner, booted } = options;
    const state = join(home, "gateway");
    const msb = new Msb({ path: options.msbPath, home });
    // An msb that does not run at all is what the readiness check tells of.
    const version = await msb.version().catch(() => undefined);
    if (version) await claimState(home, version);
    // Configurations of creates that a crash cut off.
    await rm(join(state, "tmp"), { recursive: true, force: true });
    await removeHalfWritten(state);
    await removeHalfWritten(join(home, "secrets", "registries"));
    const folders = new SandboxFolders(home);
    const commands = new SandboxCommands(msb, join(state, "tmp"), folders);
    const records = await RecordStore.open(join(state, "sandboxes"), sandboxRecord, log);
    const index = new SandboxIndex(records.all());
    const rules = new RegistryRules(home);
    await rules.current();
    const images = await ImageCache.open({
      ...{ home, msb, rules, maxBytes: limits.imageGib * 1024 ** 3 },
      wanted: () => wantedImages(index, rules),
      closedRanges: () => [...egress.now().hostRanges, ...ownNetworks()],
    });
    const payloads = new PayloadStore(join(state, "payloads"));
    await payloads.open(new Set([...records.all()].filter(isUnmade).map(({ id }) => id)));
    const files = new VolumeFileStore(options);
    const volumes = new MsbVolumes(
      msb,
      await RecordStore.open(join(state, "volumes"), volumeRecord, log),
      index,
      { home, workspace: options.workspace, namesPerOwner, limits, limitsOf, files, log },
    );
    const pulls: SandboxesOptions["pulls"] = new Map();
    const actions = sandboxActions({
      ...{
        commands,
        images,
        payloads,
        autoPull,
        egress,
        booted,
        stopGraceSeconds: options.stopGraceSeconds ?? STOP_GRACE_SECONDS,
      },
      msbVersion: () => msb.version(),
      pullOf: (id) => pulls.get(id),
      volumeHandles: ({ volumes: ids }) => volumes.handlesOf(ids),
    });
    const store = {
      put: (record: SandboxRecord) => records.put(record),
      deletePayload: (id: string) => payloads.delete(id),
      delete: async (id: string) => {
        await payloads.delete(id);
        await records.delete(id);
      },
    };
    const lifecycle = new Lifecycle(index, store, actions, log);
    const reconciler = new Reconciler(lifecycle);
    const view = new StatusCache(
      () => commands.list(),
      (rows, askedAt) => reconciler.observe(rows, askedAt),
    );
    const checkSpec = async (spec: SandboxSpec) => {
      planCreate(spec, { msbVersion: await msb.version(), egress: egress.forNew() });
    };
    const capacity = new Capacity(limits, (owner) => index.usage(owner), limitsOf);
    const sandboxes = new MsbSandboxes(index, lifecycle, view, commands, {
      ...{ home, egress, namesPerOwner, capacity, disk: files.disk, checkSpec, pulls, payloads, log },
      modifications: new Modifications(msb),
      volumesOf: (spec, owner) => volumes.idsFor(spec, owner),
      checkVolumes: (ids) => void volumes.handlesOf(ids),
    });
    const resume = new Resume(home, lifecycle, commands, log);
    const starter = new StarterImage(options, msb, log);
    const probe = new ReadinessProbe(options, (maxAgeMs) => view.refresh(maxAgeMs), starter.check);
    files
      .clean()
      .catch((error) => log.warn({ err: errorText(error) }, "what cut-off uploads left is still there"));
    const unasked = (error: unknown) => log.warn({ err: errorText(error) }, "msb could not be asked");
    const liveness = new Liveness({
      home,
      look: () => {
        view.invalidate();
        view.refresh().catch(unasked);
      },
      lookIfStale: () => void view.refresh().catch(unasked),
    });
    lifecycle.onMade = ({ record: { id } }) => {
      payloads
        .delete(id)
        .catch((error) => log.warn({ sandbox: id, err: errorText(error) }, "its payload stays"));
    };
    lifecycle.onRunning = (entry, runs) => (runs ? liveness.follow(entry) : liveness.leave(entry));
    const parts = {
      folders,
      liveness,
      reconciler,
      options,
      msb,
      index,
      lifecycle,
      resume,
      starter,
      probe,
      records,
    };
    const backend = new MsbBackend(sandboxes, volumes, images, parts);
    await recover({ ...parts, view, volumes, options });
    backend.keepGoing();
    return backend;
  }

  get limits(): Limits {
    return this.parts.options.limits;
  }

  usage(owner?: Owner): Usage {
    return { ...this.parts.index.usage(owner), volumes: this.volumes.count(owner) };
  }

  statuses(): Record<SandboxStatus, number> {
    const counts = Object.fromEntries(sandboxStatus.options.map((status) => [status, 0]));
    for (const entry of this.parts.index.all()) {
      if (entry.record.state === "gone") continue;
      const { status } = sandboxOf(entry);
      counts[status] = (counts[status] ?? 0) + 1;
    }
    return counts as Record<SandboxStatus, number>;
  }

  commands = () => this.parts.msb.lanes.counts();
  version = (): Promise<string> => this.parts.msb.version();
  readiness = (): Promise<Readiness> => this.parts.probe.check();

  async resume(): Promise<void> {
    await this.parts.starter.ensure();
    this.parts.reconciler.sweep();
    await this.parts.resume.run();
  }

  /** What the timer does, at some time; resolves when all that it began is done. */
  async sweep(now?: number): Promise<void> {
    const { reconciler, index } = this.parts;
    reconciler.sweep(now);
    const never = new AbortController().signal;
    for (const entry of [...index.all()]) while (entry.underWay) await entry.changed(never);
  }

  /** What is done now and then, from here on. */
  private keepGoing(): void {
    const { reconciler, options } = this.parts;
    const every = (ms: number, work: () => void) => this.timers.push(setInterval(work, ms).unref());
    every(SWEEP_MS, () => {
      reconciler.sweep();
      this.volumes.sweep();
    });
    const warn = (error: unknown) =>
      options.log.warn({ err: errorText(error) }, "the use of images was not saved");
    every(FLUSH_MS, () => this.images.flush().catch(warn));
  }

  async drain(deadline: number): Promise<void> {
    this.sandboxes.drain();
    await this.parts.resume.stopAll(deadline);
  }

  async close(): Promise<void> {
    for (const timer of this.timers) clearInterval(timer);
    this.parts.lifecycle.close();
    this.parts.liveness.close();
    this.images.close();
    await Promise.all([this.parts.records.flush(), this.images.flush()]);
  }
}

/** What sandboxes will start from that msb knows nothing of yet. */
function* wantedImages(index: SandboxIndex, rules: RegistryRules): Generator<string> {
  for (const { record } of index.all())
    if (record.spec && isUnmade(record)) yield* rules.namesOf(record.spec.reference);
}

const isUnmade = ({ state }: SandboxRecord): boolean =>
  state === "created" || state === "making" || state === "unmade";
