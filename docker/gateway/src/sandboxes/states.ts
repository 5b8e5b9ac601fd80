import * as z from "zod";
import type { SandboxStatus } from "./spec";

/**
 * Where a sandbox stands:
 * - created: asked for; nothing was made yet
 * - making: its first boot is under way
 * - unmade: the first boot failed; remains of it may be there
 * - running, paused, stopped: as the word says; a paused microVM keeps its memory, and its CPUs stand still
 * - failed: ended without being asked to, or did not start; its disk is there
 * - starting, pausing, resuming, stopping, removing: on the way
 * - gone: removed by itself after its end; it answers `stopped` for a while and holds no name
 */
export const sandboxState = z.enum([
  "created",
  "making",
  "unmade",
  "running",
  "starting",
  "pausing",
  "paused",
  "resuming",
  "stopping",
  "stopped",
  "failed",
  "removing",
  "gone",
]);
export type State = z.infer<typeof sandboxState>;

/** What the sandbox is to become, by the last request about it. */
export const desiredState = z.enum(["running", "paused", "stopped", "removed"]);
export type Desired = z.infer<typeof desiredState>;

/** What has to be done to a sandbox. `forget`: nothing was made, the record alone has to go. */
export type Action = "make" | "start" | "pause" | "resume" | "stop" | "remove" | "forget";

/** What the backend sees of a sandbox without having done anything to it. */
export type Observed = "running" | "paused" | "stopped" | "crashed" | "missing";

/** `end`: there is nothing of it any more. */
type Next = { state: State | "end"; desired?: Desired };
/** `keeps`: what is still to be done all the same, where that was desired. */
type Seen = Next & { keeps?: Desired };

type Row = {
  /** What clients are told; the contract has no word for a pause, so one that is paused runs. */
  status: SandboxStatus;
  /** Whether a microVM holds memory. */
  alive: boolean;
  /** What to do next, by what is desired; nothing while an action is under way. */
  todo: Partial<Record<Desired, Action>>;
  /** Where a failure of the action under way leads, unless another state was desired meanwhile. */
  failed?: { state: State; desired?: Desired };
  /** What the backend's own view changes while nothing is under way. */
  observed?: Partial<Record<Observed, Seen>>;
  /** What a restart of the server makes of it, before the backend's view is applied. */
  restarted?: State;
};

/**
 * The life of a sandbox, whole: each state, what is done there for what is desired, and where the outcome, or what
 * the backend sees, leads. Requests, the sweep and the start only say what is desired, or what was seen.
 */
export const STATES: Record<State, Row> = {
  created: {
    status: "created",
    alive: false,
    todo: { running: "make", removed: "forget" },
  },
  making: {
    status: "starting",
    alive: true,
    todo: {},
    failed: { state: "unmade", desired: "stopped" },
    // Interrupted by the end of the server: what was made, and how far, the backend's view tells.
    restarted: "unmade",
  },
  unmade: {
    status: "failed",
    alive: false,
    todo: { running: "make", removed: "remove" },
    observed: {
      running: { state: "running", desired: "running" },
      paused: { state: "paused", desired: "paused" },
      stopped: { state: "failed" },
      crashed: { state: "failed" },
    },
  },
  starting: {
    status: "starting",
    alive: true,
    todo: {},
    failed: { state: "failed", desired: "stopped" },
    restarted: "stopped",
  },
  running: {
    status: "running",
    alive: true,
    todo: { paused: "pause", stopped: "stop", removed: "remove" },
    observed: {
      paused: { state: "paused", desired: "paused", keeps: "stopped" },
      stopped: { state: "stopped", desired: "stopped" },
      crashed: { state: "failed", desired: "stopped" },
      missing: { state: "end" },
    },
  },
  pausing: {
    status: "running",
    alive: true,
    todo: {},
    failed: { state: "running", desired: "running" },
    restarted: "running",
  },
  paused: {
    status: "running",
    alive: true,
    todo: { running: "resume", stopped: "stop", removed: "remove" },
    observed: {
      running: { state: "running", desired: "running", keeps: "stopped" },
      stopped: { state: "stopped", desired: "stopped" },
      crashed: { state: "failed", desired: "stopped" },
      missing: { state: "end" },
    },
  },
  resuming: {
    status: "starting",
    alive: true,
    todo: {},
    failed: { state: "paused", desired: "paused" },
    restarted: "paused",
  },
  stopping: {
    status: "stopping",
    alive: true,
    todo: {},
    failed: { state: "running" },
    restarted: "running",
  },
  stopped: {
    status: "stopped",
    alive: false,
    todo: { running: "start", removed: "remove" },
    observed: {
      running: { state: "running", desired: "running" },
      paused: { state: "paused", desired: "paused" },
      crashed: { state: "failed" },
      missing: { state: "end" },
    },
  },
  failed: {
    status: "failed",
    alive: false,
    todo: { running: "start", removed: "remove" },
    observed: {
      running: { state: "running", desired: "running" },
      paused: { state: "paused", desired: "paused" },
      stopped: { state: "stopped" },
      missing: { state: "end" },
    },
  },
  removing: {
    status: "stopping",
    alive: true,
    todo: { removed: "remove", running: "remove", stopped: "remove" },
    failed: { state: "removing" },
  },
  gone: {
    status: "stopped",
    alive: false,
    todo: { removed: "forget" },
  },
};

/** The state in which an action is under way; `forget` needs none. */
export const UNDER_WAY: Record<Exclude<Action, "forget">, State> = {
  make: "making",
  start: "starting",
  pause: "pausing",
  resume: "resuming",
  stop: "stopping",
  remove: "removing",
};

/** Where an action leads that has done what it was to do. */
export const LEADS_TO = {
  ...{ make: "running", start: "running", pause: "paused", resume: "running", stop: "stopped" },
} as const satisfies Partial<Record<Action, State>>;

/** States of which a removal cancels what is under way. */
const CANCELLED: ReadonlySet<State> = new Set(["making", "starting", "pausing", "resuming", "stopping"]);

/** Whether an action that is under way is cancelled for what is desired now. */
export const cancels = (state: State, desired: Desired): boolean =>
  desired === "removed" && CANCELLED.has(state);

const UP: ReadonlySet<State> = new Set(["running", "pausing", "paused", "resuming"]);

/** Whether a microVM is up and nothing ends it: it runs, is paused, or on the way between the two. */
export const isUp = (state: State): boolean => UP.has(state);

/** What is desired of one that the backend sees in another state. A removal is not taken back. */
export const desiredThen = (before: Desired, { desired, keeps }: Seen): Desired =>
  before === "removed" || before === keeps ? before : (desired ?? before);
