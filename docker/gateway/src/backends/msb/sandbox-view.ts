import type { Sandbox } from "../../sandboxes/backend";
import { STATES } from "../../sandboxes/states";
import type { Entry } from "./sandbox-index";
import { isPaused, type SandboxRecord } from "./sandbox-record";

/** What was removed on request, or whose client went away before it was told of it, is no more for everybody. */
export const isHidden = ({ record }: Entry) =>
  record.desired === "removed" && (record.keepUntil === null || !record.answered);

export function statusOf({ record }: Entry): Sandbox["status"] {
  const { state, desired, ephemeral } = record;
  const { status, todo } = STATES[state];
  // An ephemeral one that ended is removed by itself: for its client it has stopped.
  if (desired === "removed" && ephemeral && (state === "removing" || !STATES[state].alive)) return "stopped";
  const next = todo[desired];
  if (next === "make" || next === "start" || next === "resume") return "starting";
  if (next === "stop") return "stopping";
  return status;
}

/** A sandbox as it stands, for everybody above. */
export const sandboxOf = (entry: Entry): Sandbox => new SandboxView(entry);

/** A class, as lists make many, and an object with a getter of its own takes fifty times as long to make. */
class SandboxView implements Sandbox {
  readonly id: string;
  readonly name: string;
  readonly slug: string;
  readonly owner: Sandbox["owner"];
  readonly ephemeral: boolean;
  readonly forkOf: string | null;
  readonly resolved: Sandbox["resolved"];
  readonly status: Sandbox["status"];
  readonly paused: boolean;
  readonly settled: boolean;
  readonly ended: boolean;
  readonly failure: Sandbox["failure"];
  readonly createdAt: string;
  readonly startedAt: string | null;
  readonly stoppedAt: string | null;
  readonly #version: number;
  readonly #spec: SandboxRecord["spec"];

  constructor(entry: Entry) {
    const { record } = entry;
    this.id = record.id;
    this.name = record.name;
    this.slug = record.slug;
    this.owner = record.owner;
    this.ephemeral = record.ephemeral;
    this.forkOf = record.forkOf;
    this.resolved = record.resolved;
    this.status = statusOf(entry);
    this.paused = isPaused(record);
    this.settled = entry.settled;
    this.ended = entry.ended;
    this.failure = record.failure;
    this.createdAt = record.createdAt;
    this.startedAt = record.startedAt;
    this.stoppedAt = record.stoppedAt;
    this.#version = entry.version;
    this.#spec = record.spec;
  }

  /** Of the process, not of the sandbox: not among its fields. */
  get version(): number {
    return this.#version;
  }

  /** Made when it is asked for. */
  get spec(): Sandbox["spec"] {
    return this.#spec?.whole() ?? null;
  }
}
