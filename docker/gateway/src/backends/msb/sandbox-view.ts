import type { Sandbox } from "../../sandboxes/backend";
import { CompactSandbox } from "../../sandboxes/compact-sandbox";
import { STATES } from "../../sandboxes/states";
import type { Entry } from "./sandbox-index";
import { isPaused } from "./sandbox-record";

/** What was removed on request, or whose client went away before it was told of it, is no more for everybody. */
export const isHidden = ({ record }: Entry) =>
  record.desired === "removed" && (record.keepUntil === null || !record.answered);

export function statusOf({ record }: Entry): Sandbox["status"] {
  const { state, desired, ephemeral, idle } = record;
  const { status, todo } = STATES[state];
  // An ephemeral one that ended is removed by itself: for its client it has stopped.
  if (desired === "removed" && ephemeral && (state === "removing" || !STATES[state].alive)) return "stopped";
  const next = todo[desired];
  if (idle && (state === "resuming" || next === "resume")) return "running";
  if (next === "make" || next === "start" || next === "resume") return "starting";
  if (next === "stop") return "stopping";
  return status;
}

/** The last view that was made: many may wait for one sandbox, and look at it one after the other. */
let last: { entry: Entry; sandbox: CompactSandbox } | undefined;

/** A sandbox as it stands, for everybody above. */
export function sandboxOf(entry: Entry): Sandbox {
  const { record, version, settled, ended } = entry;
  const { sandbox: known } = last?.entry === entry ? last : {};
  if (known?.version === version && known.settled === settled && known.ended === ended) return known;
  const now = { status: statusOf(entry), paused: isPaused(record), settled, ended };
  last = { entry, sandbox: new CompactSandbox(record, now, version, record.spec) };
  return last.sandbox;
}
