import { spawn } from "node:child_process";

/** How long a command may take to end after SIGTERM before SIGKILL, in seconds. */
export const GRACE_SECONDS = 2;

/**
 * Waits in a process of its own, because the engine kills this plugin outright soon after a cancellation;
 * ends as soon as nothing of the group is left. $1: process group.
 */
const REAPER = `
  for _ in $(seq ${GRACE_SECONDS * 10}); do kill -0 -"$1" 2>/dev/null || exit 0; sleep 0.1; done
  kill -9 -"$1" 2>/dev/null`;

/** Ends a command and all that it started: asks first, and kills what is left after {@link GRACE_SECONDS}. */
export function endGroup(leader: number): void {
  try {
    process.kill(-leader, "SIGTERM");
  } catch {
    return; // all of it has ended already
  }
  spawn("/bin/sh", ["-c", REAPER, "reaper", String(leader)], { stdio: "ignore", detached: true }).unref();
}
