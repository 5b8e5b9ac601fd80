import { errorText } from "../../errors";
import type { LifecycleLog } from "./lifecycle";
import type { Liveness } from "./liveness";
import type { Reconciler } from "./reconciler";
import type { Resume } from "./resume";
import type { SandboxFolders } from "./sandbox-folders";
import type { SandboxIndex } from "./sandbox-index";
import { forgetEndedRuns } from "./stale-runs";
import type { StatusCache } from "./status-cache";
import type { MsbVolumes } from "./volumes";

export type RecoveryParts = {
  reconciler: Reconciler;
  liveness: Liveness;
  folders: SandboxFolders;
  index: SandboxIndex;
  resume: Resume;
  view: StatusCache;
  volumes: MsbVolumes;
  options: { home: string; resume: boolean; log: LifecycleLog };
};

/** Settles what the last process left, before the first request. An msb that does not answer holds up nothing. */
export async function recover(parts: RecoveryParts): Promise<void> {
  const { reconciler, liveness, folders, index, resume, view, volumes, options } = parts;
  const failed = (what: string) => (error: unknown) => {
    options.log.error({ err: errorText(error) }, what);
    return "failed" as const;
  };
  reconciler.recover();
  // Side by side: on a slow host each takes seconds.
  const [seen] = await Promise.all([
    view.refresh(0).catch(failed("msb could not be asked for its sandboxes; it is asked again")),
    volumes.recover().catch(failed("msb could not be asked for its volumes; it is asked again")),
  ]);
  // Only where msb has said what it has.
  if (seen !== "failed")
    await folders
      .removeUnknown((handle) => index.withHandle(handle) !== undefined)
      .catch(failed("what is left of sandboxes that nobody knows of stays"));
  try {
    forgetEndedRuns(options.home);
  } catch (error) {
    failed("msb may take a thread for a microVM that has ended")(error);
  }
  for (const entry of index.all()) if (entry.record.state === "running") liveness.follow(entry);
  await (options.resume ? resume.load() : resume.forget()).catch(failed("could not tell what ran before"));
  reconciler.sweep();
}
