import { readFileSync } from "node:fs";
import { availableParallelism, totalmem } from "node:os";
import { ServiceError } from "../errors";

export type Limits = {
  /** Sandboxes running at once. */
  sandboxes: number;
  /** All sandboxes, running or not. */
  totalSandboxes: number;
  /** MiB and CPUs promised to all running guests together. */
  memoryMib: number;
  cpus: number;
  /** The most that one sandbox may ask for. */
  sandboxMemoryMib: number;
  sandboxCpus: number;
  /** MiB of the disk that one sandbox may ask for. */
  sandboxDiskMib: number;
  /** Named volumes, and the GiB promised to all that have a capacity and in the folders of the others. */
  volumes: number;
  volumeGib: number;
  /** Snapshots of disks. */
  snapshots: number;
  /** GiB that cached images may take. */
  imageGib: number;
};

/** What one owner may have of them. A limit that is left out is none. */
export type OwnerLimits = Partial<
  Pick<Limits, "sandboxes" | "totalSandboxes" | "memoryMib" | "cpus" | "volumes" | "volumeGib" | "snapshots">
>;

/** What a sandbox takes. */
type Share = { vcpus: number; memoryMib: number };
/** What is in use. */
type Used = { total: number; running: number; memoryMib: number; cpus: number };

/** Admits what the limits of the server and of the owner allow. It keeps nothing: what is in use, others count. */
export class Capacity {
  constructor(
    readonly limits: Limits,
    /** Of all, or of one owner. */
    private readonly used: (owner?: string | null) => Used,
    private readonly limitsOf: (owner: string | null) => OwnerLimits = () => ({}),
  ) {}

  /** Whether one sandbox of that size is allowed at all. @throws ServiceError invalidSpec */
  checkSize({ vcpus, memoryMib }: Share, diskMib = 0): void {
    const { sandboxCpus, sandboxMemoryMib, sandboxDiskMib } = this.limits;
    if (diskMib > sandboxDiskMib) throw tooLarge("resources.disk_size_mib", diskMib, sandboxDiskMib);
    if (vcpus > sandboxCpus) throw tooLarge("resources.vcpus", vcpus, sandboxCpus);
    if (memoryMib > sandboxMemoryMib) throw tooLarge("resources.memory_mib", memoryMib, sandboxMemoryMib);
  }

  /** Whether so many more may be made, running or not. @throws ServiceError noCapacity */
  checkTotal(owner: string | null, count = 1): void {
    const { totalSandboxes } = this.limits;
    if (this.used().total + count > totalSandboxes)
      throw full(`the server keeps at most ${totalSandboxes} sandboxes, running or not; remove some`);
    const own = this.limitsOf(owner).totalSandboxes ?? Number.POSITIVE_INFINITY;
    if (this.used(owner).total + count > own)
      throw full(`the key ${JSON.stringify(owner)} may have ${own} sandboxes, running or not; remove some`);
  }

  hasRoom = (share: Share, owner: string | null, count = 1): boolean =>
    this.whyFull(share, owner, count) === undefined;

  /** Whether so many of that size may run now. @throws ServiceError noCapacity, with the limit and its value */
  check(share: Share, owner: string | null, count = 1): void {
    const why = this.whyFull(share, owner, count);
    if (why !== undefined) throw full(why);
  }

  private whyFull({ vcpus, memoryMib }: Share, owner: string | null, count: number): string | undefined {
    const more = { count, vcpus: vcpus * count, memoryMib: memoryMib * count };
    // What others use is not told.
    const all = whyOver(more, this.used(), this.limits);
    if (all) return `${all} for all keys together`;
    const own = whyOver(more, this.used(owner), this.limitsOf(owner));
    return own && `${own} for the key ${JSON.stringify(owner)}`;
  }
}

/** The limit that so many more would exceed beside what is in use; undefined if they fit. */
function whyOver(share: Share & { count: number }, used: Used, limits: OwnerLimits): string | undefined {
  const { sandboxes = Infinity, memoryMib = Infinity, cpus = Infinity } = limits;
  if (used.running + share.count > sandboxes)
    return `${share.count === 1 ? "one" : share.count} more would exceed the limit of ${sandboxes} running sandboxes`;
  if (used.memoryMib + share.memoryMib > memoryMib)
    return `${share.memoryMib} MiB more would exceed the limit of ${memoryMib} MiB`;
  if (used.cpus + share.vcpus > cpus)
    return `${share.vcpus} CPUs more would exceed the limit of ${cpus} CPUs`;
  return undefined;
}

const full = (message: string) => new ServiceError("noCapacity", message);

const tooLarge = (field: string, asked: number, limit: number) =>
  new ServiceError("invalidSpec", `${field}: ${asked} exceeds the limit of ${limit} for one sandbox`);

/** The container's own limits, from its control group (v2, then v1), else the machine's. */
export function containerLimits(group = "/sys/fs/cgroup"): { memoryMib: number; cpus: number } {
  const number = (path: string) => Number(read(path)?.trim());
  const memory = [number(`${group}/memory.max`), number(`${group}/memory/memory.limit_in_bytes`)];
  const bytes = Math.min(totalmem(), ...memory.filter((value) => value > 0));
  const [quota, period] = (
    read(`${group}/cpu.max`) ??
    `${read(`${group}/cpu/cpu.cfs_quota_us`)} ${read(`${group}/cpu/cpu.cfs_period_us`)}`
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
