import { errorText } from "../../errors";
import type { Action } from "../../sandboxes/states";
import type { SandboxRecord } from "./sandbox-record";

/** Actions that msb is asked for. */
export type Doing = Exclude<Action, "forget">;

/** What is done to a sandbox in msb. Each resolves with what its record gains; the signal cancels it. */
export type Actions = Record<
  Doing,
  (record: SandboxRecord, signal: AbortSignal) => Promise<Partial<SandboxRecord>>
>;

/** A make that failed before msb was asked for a sandbox: nothing of it can be there. */
export class NothingMade extends Error {
  constructor(override readonly cause: unknown) {
    super(errorText(cause));
  }
}
