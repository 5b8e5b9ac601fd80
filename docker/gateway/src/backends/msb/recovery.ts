import { type ConfigError, errorText } from "../../errors";
import { isUp } from "../../sandboxes/states";
import { within } from "../../within";
import type { LifecycleLog } from "./lifecycle";
import type { Liveness } from "./liveness";
import type { Reconciler } from "./reconciler";
import type { RecordStore } from "./record-store";
import type { Resume } from "./resume";
import type { SandboxFolders } from "./sandbox-folders";
import type { SandboxIndex } from "./sandbox-index";
import type { SandboxRecord } from "./sandbox-record";
import type { SnapshotWork } from "./snapshot-work";
import { forgetEndedRuns } from "./stale-runs";
import type { StateClaim } from "./state-version";
import type { StatusCache } from "./status-cache";
import type { MsbVolumes } from "./volumes";
import type { WarmPool } from "./warm-pool";

export type RecoveryParts = {
  reconciler: Reconciler;
  liveness: Liveness;
  folders: SandboxFolders;
  records: Pick<RecordStore<SandboxRecord>, "setAside">;
  index: SandboxIndex;
  resume: Resume;
  view: StatusCache;
  volumes: MsbVolumes;
  snapshotWork: SnapshotWork;
  warm: WarmPool;
  claim: StateClaim;
  options: {
    home: string;
    log: LifecycleLog;
    /** Told where the state turns out to be too new after the start. */
    unusable: (error: ConfigError) => void;
  };
};

/** How long the start waits for msb. */
const START_WAIT_MS = 5_000;

/**
 * Settles what the last process left, before the first request: all that the disk tells, and what msb tells of it if it
 * answers soon. One that does not holds up nothing: what it tells is taken in when it comes.
 * @throws ConfigError where the state is too new for the msb that is here, and that is known by then; Error where that
 *   can't be told, because the disk does not let it be read
 */
export async function recover(parts: RecoveryParts): Promise<void> {
  const { reconciler, liveness, index, resume, options, claim, snapshotWork } = parts;
  reconciler.recover();
  snapshotWork.recover();
  const deadline = performance.now() + START_WAIT_MS;
  // An msb that the state is too new for must not so much as make a list: it would change its database.
  const claimed = claim.begin();
  const looked = claimed.then(() => lookAtMsb(parts));
  looked.catch(() => undefined);
  if (await within(claimed, START_WAIT_MS)) await within(looked, deadline - performance.now());
  if (performance.now() >= deadline)
    options.log.warn({}, "msb is slow to respond; serving the state on disk until it does");
  // Too late to be thrown.
  claim.settle(claimed).catch(options.unusable);
  for (const entry of index.all()) if (isUp(entry.record.state)) liveness.follow(entry);
  await resume.load().catch(failed(parts, "could not read which sandboxes were running"));
  reconciler.sweep();
}

/** Takes in what msb has, and removes what nobody knows of. Never rejects. */
async function lookAtMsb(parts: RecoveryParts): Promise<void> {
  const { folders, records, index, view, volumes, reconciler, warm, options } = parts;
  // What msb's list then says of them must not make their disks anybody's.
  const handles = new Set([...index.all()].map(({ record }) => record.handle));
  // Side by side: on a slow host each takes seconds.
  const [seen] = await Promise.all([
    view.refresh(0).catch(failed(parts, "msb could not be asked for its sandboxes; it is asked again")),
    volumes.recover().catch(failed(parts, "msb could not be asked for its volumes; it is asked again")),
  ]);
  // Only where msb has said what it has, and can be believed.
  if (seen !== "failed" && reconciler.distrust === undefined)
    await folders
      .removeUnknown(
        (handle) =>
          handles.has(handle) ||
          index.withHandle(handle) !== undefined ||
          records.setAside.has(handle) ||
          warm.knows(handle),
      )
      .catch(failed(parts, "leftover sandbox folders could not be removed"));
  try {
    forgetEndedRuns(options.home);
  } catch (error) {
    failed(parts, "msb may take a thread for a microVM that has ended")(error);
  }
}

function failed({ options }: RecoveryParts, what: string) {
  return (error: unknown) => {
    options.log.error({ err: errorText(error) }, what);
    return "failed" as const;
  };
}
