import { ServiceError, sandboxNotFound } from "../../errors";
import type { Entry } from "./sandbox-index";
import { isHidden } from "./sandbox-view";

/** Layers of a disk: msb's own limit is 256. */
export const MOST_LAYERS = 240;

/**
 * Whether a snapshot can be made of a sandbox: `now`, or as soon as what is under way with it is done.
 * @throws ServiceError sandboxNotFound, conflict
 */
export function checkCapturable(entry: Entry, when: "now" | "soon"): void {
  const { id, state, name, layers, idle } = entry.record;
  if (entry.ended || isHidden(entry) || state === "gone" || state === "removing") throw sandboxNotFound(id);
  const conflict = (why: string) =>
    new ServiceError("conflict", `the sandbox ${JSON.stringify(name)} ${why}`);
  if (state === "created" || state === "unmade") throw conflict("was never started: it has no disk yet");
  if (state === "paused" && !idle)
    throw conflict("is paused: resume it first, its file system has to answer");
  if (state === "failed") throw conflict("has failed: start it, and stop it if it is not to run");
  if (state === "running" && layers >= MOST_LAYERS)
    throw conflict(
      `has been captured ${layers} times while it ran: stop it once, so that the layers of its disk are merged`,
    );
  if (when === "now" && state !== "running" && state !== "stopped") throw conflict(`is ${state}; try again`);
}
