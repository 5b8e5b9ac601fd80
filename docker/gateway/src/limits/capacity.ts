import { readFileSync } from "node:fs";
import { availableParallelism, totalmem } from "node:os";
import { ServiceError } from "../errors";
import type { KeyLimits } from "../keys/key-file";

export type Limits = {
  /** Sandboxes running at once. */
  sandboxes: number;
  /** MiB and CPUs promised to all running guests together. */
  memoryMib: number;
  cpus: number;
  /** The most that one sandbox may ask for. */
  sandboxMemoryMib: number;
  sandboxCpus: number;
};

/** What a sandbox takes, and the key that made it. */
export type Share = { vcpus: number; memoryMib: number; owner: string | null };
export type Usage = { sandboxes: number; memoryMib: number; cpus: number };

/** Promises what the limits allow: those that run, and those that are being started. */
export class Capacity {
  private readonly starting = new Map<string, Share>();

  constructor(
    readonly limits: Limits,
    private readonly running: () => Iterable<[id: string, share: Share]>,
    /** What a key may have of them; {} for no limits of its own. */
    readonly limitsOf: (owner: string | null) => KeyLimits = () => ({}),
  ) {}

  /** What is promised to all sandboxes, or to those of one key. */
  usage(owner?: string | null): Usage {
    const all = new Map<string, Share>([...this.running(), ...this.starting]);
    const usage = { sandboxes: 0, memoryMib: 0, cpus: 0 };
    for (const share of all.values()) {
      if (owner !== undefined && share.owner !== owner) continue;
      usage.sandboxes += 1;
      usage.memoryMib += share.memoryMib;
      usage.cpus += share.vcpus;
    }
    return usage;
  }

  /** Whether one sandbox of that size is allowed at all. @throws ServiceError 400 */
  checkSize({ vcpus, memoryMib }: Pick<Share, "vcpus" | "memoryMib">): void {
    const { sandboxCpus, sandboxMemoryMib } = this.limits;
    if (vcpus > sandboxCpus) throw tooLarge("resources.vcpus", vcpus, sandboxCpus);
    if (memoryMib > sandboxMemoryMib) throw tooLarge("resources.memory_mib", memoryMib, sandboxMemoryMib);
  }

  /** Whether a start of that size would be let in now. */
  hasRoom(share: Share): boolean {
    return this.whyFull(share) === undefined;
  }

  /** Sets a share aside for a start. @throws ServiceError 429 that names the limit and its value */
  reserve(id: string, share: Share): void {
    const why = this.whyFull(share);
    if (why) throw new ServiceError("noCapacity", why);
    this.starting.set(id, share);
  }

  private whyFull(share: Share): string | undefined {
    const full = whyOver(share, this.usage(), this.limits, "of all keys");
    const own = this.limitsOf(share.owner);
    if (full !== undefined || Object.keys(own).length === 0) return full;
    const whose = `of the key ${JSON.stringify(share.owner)}`;
    return whyOver(share, this.usage(share.owner), { ...own, memoryMib: own.memoryMiB }, whose);
  }

  release(id: string): void {
    this.starting.delete(id);
  }
}

/** Why a share does not fit beside what is in use; undefined if it does. A limit that is left out is none. */
function whyOver(share: Share, usage: Usage, limits: Partial<Usage>, whose: string): string | undefined {
  const { sandboxes = Infinity, memoryMib = Infinity, cpus = Infinity } = limits;
  if (usage.sandboxes + 1 > sandboxes)
    return `${usage.sandboxes} of at most ${sandboxes} sandboxes ${whose} are running`;
  if (usage.memoryMib + share.memoryMib > memoryMib)
    return `${share.memoryMib} MiB more than the ${usage.memoryMib} MiB in use would exceed the limit of ${memoryMib} MiB ${whose}`;
  if (usage.cpus + share.vcpus > cpus)
    return `${share.vcpus} CPUs more than the ${usage.cpus} in use would exceed the limit of ${cpus} ${whose}`;
  return undefined;
}

const tooLarge = (field: string, asked: number, limit: number) =>
  new ServiceError("invalidSpec", `${field}: ${asked} exceeds the limit of ${limit} for one sandbox`);

/** The container's own limits, from its control group (v2, then v1), else the machine's. */
export function containerLimits(): { memoryMib: number; cpus: number } {
  const number = (path: string) => Number(read(path)?.trim());
  const memory = [number("/sys/fs/cgroup/memory.max"), number("/sys/fs/cgroup/memory/memory.limit_in_bytes")];
  const bytes = Math.min(totalmem(), ...memory.filter((value) => value > 0));
  const [quota, period] = (
    read("/sys/fs/cgroup/cpu.max") ??
    `${read("/sys/fs/cgroup/cpu/cpu.cfs_quota_us")} ${read("/sys/fs/cgroup/cpu/cpu.cfs_period_us")}`
  )
    .split(/\s+/)
    .map(Number);
  const share = (quota ?? 0) > 0 && (period ?? 0) > 0 ? Math.ceil((quota ?? 0) / (period ?? 1)) : Infinity;
  return { memoryMib: Math.floor(bytes / 1024 / 1024), cpus: Math.min(share, availableParallelism()) };
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}
