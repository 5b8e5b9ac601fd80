import { ServiceError, sandboxNotFound } from "../../errors";
import type { CompactSpec } from "../../sandboxes/compact-spec";
import type { WantedForks } from "../../sandboxes/forks";
import { isUp } from "../../sandboxes/states";
import type { Entry } from "./sandbox-index";
import type { SandboxRecord } from "./sandbox-record";
import { isHidden, statusOf } from "./sandbox-view";
import { MOST_LAYERS } from "./snapshot-checks";

const conflict = (name: string, why: string) =>
  new ServiceError("conflict", `the sandbox ${JSON.stringify(name)} ${why}`);

/**
 * Whether a sandbox can be forked: `now`, or as soon as what is under way with it is done.
 * @returns its record
 * @throws ServiceError sandboxNotFound, conflict
 */
export function checkForkable(entry: Entry, when: "now" | "soon"): SandboxRecord & { spec: CompactSpec } {
  const { id, name, state, desired, spec, layers } = entry.record;
  if (entry.ended || isHidden(entry)) throw sandboxNotFound(id);
  if (!spec) throw conflict(name, "was made with msb itself: what its forks may reach is not known");
  const stays = desired === "running" || desired === "paused";
  const rests = state === "running" || state === "paused";
  if (!stays || !(when === "now" ? rests : isUp(state)))
    throw conflict(name, `is ${statusOf(entry)}: only one that runs or is paused can be forked`);
  if (layers >= MOST_LAYERS)
    throw conflict(
      name,
      `has been captured ${layers} times: stop it once, so that the layers of its disk are merged`,
    );
  return { ...entry.record, spec };
}

/**
 * msb gives forks all that their source has, or none of it; so what they are not to have, their source must not have.
 * @param isDisk whether a volume is a disk, by its id
 * @throws ServiceError conflict
 */
export function checkInherited(
  { name, secrets, volumes }: SandboxRecord,
  inherit: WantedForks["inherit"],
  isDisk: (id: string) => boolean,
): void {
  if (secrets && !inherit.has("secrets"))
    throw conflict(
      name,
      'has secrets, or may have: its forks could use them, which "inherit": ["secrets"] has to allow',
    );
  const mounted = Object.entries(volumes);
  if (mounted.length > 0 && !inherit.has("volumes"))
    throw conflict(
      name,
      'mounts volumes: its forks would write to the same, which "inherit": ["volumes"] has to allow',
    );
  const disk = mounted.find(([, id]) => isDisk(id));
  if (disk)
    throw conflict(
      name,
      `mounts ${JSON.stringify(disk[0])}, a volume with a capacity: one sandbox at a time can`,
    );
}
