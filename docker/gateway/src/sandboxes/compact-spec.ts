import type { SandboxSpec } from "./spec";

/**
 * A spec as it is in memory for each sandbox there is: as text, and beside it what is asked for all the time. As objects
 * it would take some six times as much, and a client chooses of what it consists.
 */
export class CompactSpec {
  readonly reference: string;
  readonly vcpus: number;
  readonly memoryMib: number;
  readonly labels: SandboxSpec["labels"];
  /** 0 for never. */
  readonly idleTimeoutSeconds: number;
  /** Names of the volumes that it mounts. */
  readonly mounted: string[];
  /** The rest as JSON, a character a byte: of a text with other letters V8 would keep two for each. */
  private readonly text: string;

  constructor({ reference, labels, ...rest }: SandboxSpec) {
    this.reference = reference;
    this.labels = labels;
    this.vcpus = rest.resources.vcpus;
    this.memoryMib = rest.resources.memory_mib;
    this.idleTimeoutSeconds = rest.lifecycle.idle_timeout_secs ?? 0;
    this.mounted = rest.mounts.flatMap((mount) => (mount.type === "named" ? [mount.name] : []));
    this.text = Buffer.from(JSON.stringify(rest)).toString("latin1");
  }

  /** Characters of it, about. */
  get length(): number {
    return this.text.length + JSON.stringify(this.labels).length;
  }

  /** The whole spec, made anew each time. */
  whole(): SandboxSpec {
    const { reference, labels } = this;
    return { ...JSON.parse(Buffer.from(this.text, "latin1").toString()), reference, labels };
  }

  /** Records are written with the whole of it. */
  toJSON(): SandboxSpec {
    return this.whole();
  }
}
