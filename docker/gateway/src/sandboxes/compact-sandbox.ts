import type { Resolved, Sandbox } from "./backend";
import type { CompactSpec } from "./compact-spec";

type Standing = Pick<Sandbox, "status" | "paused" | "settled" | "ended">;

/**
 * A sandbox whose spec is text in memory, and made whole when somebody asks for it. A class, as lists make many, and an
 * object with a getter of its own takes fifty times as long to make.
 */
export class CompactSandbox implements Sandbox {
  readonly id: string;
  readonly name: string;
  readonly slug: string;
  readonly owner: Sandbox["owner"];
  readonly ephemeral: boolean;
  readonly forkOf: string | null;
  readonly resolved: Resolved | null;
  readonly status: Sandbox["status"];
  readonly paused: boolean;
  readonly settled: boolean;
  readonly ended: boolean;
  readonly failure: Sandbox["failure"];
  readonly createdAt: string;
  readonly startedAt: string | null;
  readonly stoppedAt: string | null;
  readonly #version: number;
  readonly #spec: CompactSpec | null;

  /**
   * @param kept what is kept of it
   * @param now how it stands
   */
  constructor(
    kept: Omit<Sandbox, keyof Standing | "version" | "spec">,
    now: Standing,
    version: number,
    spec: CompactSpec | null,
  ) {
    this.id = kept.id;
    this.name = kept.name;
    this.slug = kept.slug;
    this.owner = kept.owner;
    this.ephemeral = kept.ephemeral;
    this.forkOf = kept.forkOf;
    this.resolved = kept.resolved;
    this.status = now.status;
    this.paused = now.paused;
    this.settled = now.settled;
    this.ended = now.ended;
    this.failure = kept.failure;
    this.createdAt = kept.createdAt;
    this.startedAt = kept.startedAt;
    this.stoppedAt = kept.stoppedAt;
    this.#version = version;
    this.#spec = spec;
  }

  /** Of the process, not of the sandbox: not among its fields. */
  get version(): number {
    return this.#version;
  }

  /** Made anew each time. */
  get spec(): Sandbox["spec"] {
    return this.#spec?.whole() ?? null;
  }

  get labels(): Record<string, string> {
    return this.#spec?.labels ?? this.resolved?.labels ?? {};
  }

  /** What it takes of the limits of what runs. */
  get size(): { vcpus: number; memoryMib: number } {
    return sizeFrom(this.#spec, this.resolved);
  }
}

/** CPUs and memory of a sandbox. */
export type Size = { vcpus: number; memoryMib: number };

/** One that was made on the server itself may tell neither. */
export const sizeFrom = (spec: Size | null, resolved: Size | null): Size => ({
  vcpus: spec?.vcpus ?? resolved?.vcpus ?? 1,
  memoryMib: spec?.memoryMib ?? resolved?.memoryMib ?? 512,
});
