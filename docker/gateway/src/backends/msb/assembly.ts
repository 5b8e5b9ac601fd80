import { rm } from "node:fs/promises";
import { join } from "node:path";
import { type ConfigError, errorText } from "../../errors";
import { removeHalfWritten } from "../../files/atomic-file";
import { Capacity, type Limits, type OwnerLimits } from "../../limits/capacity";
import type { Owner } from "../../sandboxes/backend";
import { idsOf } from "../../sandboxes/ids";
import type { SandboxSpec } from "../../sandboxes/spec";
import { GIB } from "../../sandboxes/volume-files";
import { Admission } from "./admission";
import { Msb } from "./command-line";
import { Compaction } from "./compaction";
import { checkPlan, planCreate } from "./create-plan";
import type { EgressPolicy } from "./egress";
import { closedToPulls, type EgressLimit } from "./egress-limit";
import { Forks } from "./forks";
import { GuestAccess } from "./guest-access";
import { IdlePauses } from "./idle-pauses";
import { ImageCache } from "./image-cache";
import { Lifecycle, type LifecycleLog } from "./lifecycle";
import { Liveness } from "./liveness";
import { Modifications } from "./modifications";
import { KeptImages, keptImages, wantedImages } from "./needed-images";
import { withPauses } from "./pause-state";
import { PayloadStore } from "./payload-store";
import { ReadinessProbe } from "./readiness";
import { Reconciler } from "./reconciler";
import { RecordStore } from "./record-store";
import { RegistryRules } from "./registry-rules";
import { Resolver } from "./resolver";
import { restoreArguments } from "./restore-plan";
import { Resume } from "./resume";
import { sandboxActions } from "./sandbox-actions";
import { SandboxCommands } from "./sandbox-commands";
import { SandboxFolders } from "./sandbox-folders";
import { SandboxIndex } from "./sandbox-index";
import { isUnmade, type SandboxRecord, sandboxRecord } from "./sandbox-record";
import { MsbSandboxes, type SandboxesOptions } from "./sandboxes";
import { SnapshotCommands } from "./snapshot-commands";
import { snapshotRecord } from "./snapshot-record";
import { SnapshotWork } from "./snapshot-work";
import { MsbSnapshots } from "./snapshots";
import { StarterImage } from "./starter-image";
import { StateClaim } from "./state-version";
import { StatusCache } from "./status-cache";
import { VolumeFileStore } from "./volume-files/store";
import { volumeRecord } from "./volume-record";
import { MsbVolumes } from "./volumes";
import type { WarmKind } from "./warm-kind";
import type { WarmPoolOptions } from "./warm-options";
import { WarmPool } from "./warm-pool";

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
  /** Which of several servers this one is: its ids say so. Default: it is the only one. */
  serverNumber?: number;
  /** Whether names are for each owner by itself. */
  namesPerOwner: boolean;
  /** Whether what ran when the server was stopped is started again. */
  resume: boolean;
  limits: Limits;
  limitsOf: (owner: Owner) => OwnerLimits;
  /** Seconds that a guest gets to stop at a client's request; default: {@link STOP_GRACE_SECONDS}. */
  stopGraceSeconds?: number;
  /** Seconds without use after which a sandbox is paused; default: 0, never. */
  idlePauseSeconds?: number;
  /** What is kept booted for creates to come. */
  warm: { kinds: WarmKind[] } & Pick<WarmPoolOptions, "idleSeconds" | "claimed">;
  /** Bytes of the disks that are to stay free. */
  reserveBytes: number;
  /** Called where the state turns out to be too new for this msb once the server serves; maybe more than once. */
  unusable: (error: ConfigError) => void;
  /** Called after each boot. */
  booted: (seconds: number, ok: boolean) => void;
  log: LifecycleLog;
};

/** What the backend is made of. */
export type Parts = {
  options: MsbBackendOptions;
  msb: Msb;
  claim: StateClaim;
  records: RecordStore<SandboxRecord>;
  index: SandboxIndex;
  lifecycle: Lifecycle;
  idle: IdlePauses;
  reconciler: Reconciler;
  liveness: Liveness;
  view: StatusCache;
  folders: SandboxFolders;
  resume: Resume;
  starter: StarterImage;
  probe: ReadinessProbe;
  sandboxes: MsbSandboxes;
  volumes: MsbVolumes;
  snapshots: MsbSnapshots;
  snapshotWork: SnapshotWork;
  compaction: Compaction;
  images: ImageCache;
  keptImages: KeptImages;
  warm: WarmPool;
};

/** Reads what is on the disk and joins the parts; msb is not waited for. */
export async function assemble(options: MsbBackendOptions): Promise<Parts> {
  const { home, log, limits, limitsOf, egress, autoPull, namesPerOwner, booted } = options;
  const state = join(home, "gateway");
  const newId = idsOf(options.serverNumber);
  const msb = new Msb({ path: options.msbPath, home });
  // Configurations of creates that a crash interrupted.
  await rm(join(state, "tmp"), { recursive: true, force: true });
  await removeHalfWritten(state);
  await removeHalfWritten(join(home, "secrets", "registries"));
  const folders = new SandboxFolders(home);
  const commands = new SandboxCommands(msb, join(state, "tmp"), folders);
  const records = await RecordStore.open(join(state, "sandboxes"), sandboxRecord, log);
  const index = new SandboxIndex(records.all());
  const rules = new RegistryRules(home);
  await rules.current();
  const files = new VolumeFileStore(options);
  const images = await ImageCache.open({
    ...{ home, msb, rules, maxBytes: limits.imageGib * GIB, disk: files.disk },
    wanted: () => wantedImages(index, rules),
    kept: () => keptImages(home),
    closedRanges: () => closedToPulls(egress),
  });
  const payloads = new PayloadStore(join(state, "payloads"));
  const unmade = [...records.all()].filter(isUnmade).map(({ id }) => id);
  await payloads.open(new Set([...unmade, ...records.setAside]));
  const volumes = new MsbVolumes(
    msb,
    await RecordStore.open(join(state, "volumes"), volumeRecord, log),
    index,
    { home, workspace: options.workspace, namesPerOwner, limits, limitsOf, files, newId, log },
  );
  const pulls: SandboxesOptions["pulls"] = new Map();
  const planOf = async (spec: SandboxSpec, reference: string, limit: EgressPolicy, volumeHandles = {}) =>
    planCreate(spec, { msbVersion: await msb.version(), egress: limit, reference, volumeHandles });
  const warm = new WarmPool({
    ...{ home, limits, commands, images, autoPull, log, ...options.warm },
    planOf: (spec, reference) => planOf(spec, reference, egress.required()),
    used: () => index.usage(),
    isBusy: () => msb.lanes.isBusy("boots"),
    checkDisk: () => files.disk.check(),
  });
  const actions = sandboxActions({
    ...{
      commands,
      images,
      payloads,
      autoPull,
      egress,
      booted,
      warm,
      stopGraceSeconds: options.stopGraceSeconds ?? STOP_GRACE_SECONDS,
    },
    planOf,
    pullOf: (id) => pulls.get(id),
    volumeHandles: ({ volumes: ids }) => volumes.handlesOf(ids),
    useSnapshot: (id) => snapshotWork.use(id),
    makeFork: (record, signal) => forks.make(record, signal),
    note: async (id, change) => {
      const entry = index.get(id);
      if (entry) await lifecycle.update(entry, change);
    },
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
  const idle = new IdlePauses({
    ...{ index, lifecycle, seconds: options.idlePauseSeconds ?? 0, msbVersion: () => msb.version() },
  });
  const snapshotStore = await RecordStore.open(join(state, "snapshots"), snapshotRecord, log);
  const snapshotCommands = new SnapshotCommands(msb, home);
  const snapshotWork = new SnapshotWork({
    ...{ store: snapshotStore, commands: snapshotCommands, lifecycle, idle, log },
  });
  const snapshots = new MsbSnapshots(snapshotStore, index, snapshotWork, {
    ...{ home, namesPerOwner, limits, limitsOf, disk: files.disk, msbVersion: () => msb.version(), newId },
  });
  const compaction = new Compaction(index, lifecycle, snapshotCommands, log);
  const reconciler = new Reconciler(lifecycle, folders, warm, newId);
  const pauses = {
    home,
    wasPaused: (handle: string) => index.withHandle(handle)?.record.state === "paused",
    isFirst: () => reconciler.isRecovering,
    timeoutMs: 2_000,
  };
  const view = new StatusCache(
    async () => withPauses(await commands.list(), pauses),
    (rows, askedAt) => reconciler.observe(rows, askedAt),
  );
  const checkSpec = async (spec: SandboxSpec, snapshot: string | undefined) => {
    if (snapshot === undefined)
      checkPlan(spec, { msbVersion: await msb.version(), egress: egress.required() });
    else restoreArguments(spec, { egress: egress.required() });
  };
  const capacity = new Capacity(limits, (owner) => index.usage(owner), limitsOf);
  const resume = new Resume(home, lifecycle, commands, log, () => view.refresh(0), options.resume);
  const admission = new Admission(index, view, { namesPerOwner, capacity, disk: files.disk });
  const forks = new Forks({
    ...{ admission, lifecycle, commands, msb, egress, disk: files.disk, newId },
    giveWay: () => warm.giveWay(),
    disksAmong: (ids) => volumes.disksAmong(ids),
  });
  const resolver = new Resolver(lifecycle, commands, log);
  const access = new GuestAccess({ home, view, idle });
  const sandboxes = new MsbSandboxes(index, lifecycle, view, resolver, admission, forks, access, {
    ...{ egress, capacity, disk: files.disk, checkSpec, pulls, payloads, newId, idle, log },
    modifications: new Modifications(msb, lifecycle),
    msbVersion: () => msb.version(),
    volumesOf: (spec, owner) => volumes.idsFor(spec, owner),
    withdrawResume: (id) => resume.withdraw(id),
    checkVolumes: (ids) => void volumes.handlesOf(ids),
    checkSnapshot: (id) => snapshotWork.use(id).release(),
  });
  const starter = new StarterImage(options, msb, log);
  const probe = new ReadinessProbe(options, {
    ask: (maxAgeMs) => view.refresh(maxAgeMs),
    distrust: () => reconciler.distrust ?? volumes.distrust,
    starter: starter.check,
  });
  files
    .clean()
    .catch((error) => log.warn({ err: errorText(error) }, "what interrupted uploads left is still there"));
  const unasked = (error: unknown) => log.warn({ err: errorText(error) }, "msb could not be asked");
  const liveness = new Liveness({
    home,
    look: () => {
      view.invalidate();
      view.refresh().catch(unasked);
    },
    lookIfStale: () => void view.refresh().catch(unasked),
  });
  lifecycle.onMade = ({ record: { id, handle } }) => {
    warm.released(handle);
    payloads
      .delete(id)
      .catch((error) => log.warn({ sandbox: id, err: errorText(error) }, "its payload stays"));
  };
  lifecycle.onRunning = (entry, runs) => {
    if (runs) liveness.follow(entry);
    else liveness.leave(entry);
    volumes.noteUse(entry.record);
  };
  lifecycle.onPaused = (entry) => volumes.noteUse(entry.record);
  const claim = new StateClaim(home, () => msb.version(), log);
  return {
    ...{ options, msb, claim, records, index, lifecycle, idle, reconciler, liveness, view, folders, resume },
    ...{ starter, probe, sandboxes, volumes, snapshots, snapshotWork, compaction, images, warm },
    keptImages: new KeptImages(home, images, log),
  };
}
