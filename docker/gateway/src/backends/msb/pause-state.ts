import { connect } from "node:net";
import * as z from "zod";
import { controlSocketPath } from "./agent-socket";
import type { Seen } from "./reconciler";

const answer = z.object({ pause: z.object({ paused: z.boolean(), recovery_required: z.boolean() }) });

/** More than any answer has. */
const MOST_CHARACTERS = 64 * 1024;

/**
 * Whether the CPUs of a microVM stand still, by its own word.
 * @returns false where nothing listens: what has no control socket can't be paused; undefined without an answer in time
 */
function isPaused(home: string, handle: string, timeoutMs: number): Promise<boolean | undefined> {
  return new Promise((resolve) => {
    const path = controlSocketPath(home, handle);
    const socket = connect({ path, signal: AbortSignal.timeout(timeoutMs) });
    let text = "";
    socket.setEncoding("utf8");
    socket.write('{"op":"pause_state"}\n');
    socket.on("data", (chunk) => {
      text += chunk;
      if (text.includes("\n") || text.length > MOST_CHARACTERS) socket.destroy();
    });
    socket.on("end", () => socket.destroy());
    socket.on("error", (error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT" || error.code === "ECONNREFUSED") resolve(false);
    });
    socket.on("close", () => resolve(pausedIn(text)));
  });
}

/** It is paused for msb also where a resume went wrong half-way: nothing runs then, either. */
function pausedIn(text: string): boolean | undefined {
  try {
    const { paused, recovery_required } = answer.parse(JSON.parse(text)).pause;
    return paused || recovery_required;
  } catch {
    return undefined;
  }
}

export type PauseStates = {
  home: string;
  wasPaused: (handle: string) => boolean;
  /** Whether this is the first list after a start: what became of pauses that were under way is not known yet. */
  isFirst: () => boolean;
  /** Milliseconds that a microVM has for its answer. */
  timeoutMs: number;
};

/**
 * A list of msb's that says "running" of none that is paused.
 *
 * For a list msb 0.7.11 asks each microVM whether it is paused, and takes it for running where the answer has not come
 * within 250 ms (crate microsandbox, lib/sandbox/pause.rs, projected_status): on a busy host, or while it is forked.
 * So of those that were paused its word is not enough, and the microVM is asked again, with time.
 */
export function withPauses(rows: Seen[], options: PauseStates): Promise<Seen[]> {
  const { home, wasPaused, isFirst, timeoutMs } = options;
  const all = isFirst();
  return Promise.all(
    rows.map(async (row) => {
      const was = wasPaused(row.name);
      if (row.observed !== "running" || !(was || all)) return row;
      const paused = (await isPaused(home, row.name, timeoutMs)) ?? was;
      return paused ? { ...row, observed: "paused" as const } : row;
    }),
  );
}
