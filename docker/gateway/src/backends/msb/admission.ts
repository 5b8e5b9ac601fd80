import { nameTaken, sandboxNotFound, serverStopping } from "../../errors";
import type { Capacity } from "../../limits/capacity";
import { isUp } from "../../sandboxes/states";
import { type Entry, type SandboxIndex, shareOf } from "./sandbox-index";
import type { SandboxRecord } from "./sandbox-record";
import type { StatusCache } from "./status-cache";

export type AdmissionOptions = {
  /** Whether names are for each owner by itself. */
  namesPerOwner: boolean;
  capacity: Capacity;
  /** @throws ServiceError diskFull where too little of the disk is free */
  disk: { check: () => Promise<void> };
};

/** Whether a sandbox may be made or started now. What waits looks first; what checks answers at once. */
export class Admission {
  /** From the drain on, nothing is made or started. */
  draining = false;

  constructor(
    private readonly index: SandboxIndex,
    private readonly view: StatusCache,
    private readonly options: AdmissionOptions,
  ) {}

  /** @throws ServiceError unavailable */
  refuseWhileDraining(): void {
    if (this.draining) throw serverStopping();
  }

  /** Whether there is a name and room for a new one. @throws ServiceError unavailable, nameTaken, noCapacity */
  checkNew(record: SandboxRecord): void {
    const { namesPerOwner, capacity } = this.options;
    const { name, owner, desired } = record;
    this.refuseWhileDraining();
    if (this.index.holder(name, namesPerOwner ? { owner } : {})) throw nameTaken(name);
    capacity.checkTotal(owner);
    if (desired === "running") capacity.check(shareOf(record), owner);
  }

  /**
   * Whether there are names and room for several of one owner and size, each of which is to run.
   * @throws ServiceError unavailable, nameTaken, noCapacity
   */
  checkAll(names: string[], one: SandboxRecord): void {
    const { namesPerOwner, capacity } = this.options;
    const { owner } = one;
    this.refuseWhileDraining();
    const taken = names.find((name) => this.index.holder(name, namesPerOwner ? { owner } : {}));
    if (taken !== undefined) throw nameTaken(taken);
    capacity.checkTotal(owner, names.length);
    capacity.check(shareOf(one), owner, names.length);
  }

  /** Whether it may be started now. @throws ServiceError unavailable, sandboxNotFound, noCapacity */
  checkStart({ record, ended, holdsRoom }: Entry): void {
    this.refuseWhileDraining();
    if (ended || record.desired === "removed") throw sandboxNotFound(record.id);
    if (!holdsRoom) this.options.capacity.check(shareOf(record), record.owner);
  }

  /** Looks anew at one that seems to run, and for room where there seems to be none. @throws ServiceError diskFull */
  async lookForStart(entry: Entry): Promise<void> {
    this.refuseWhileDraining();
    // It may have ended a moment ago, and is to be started then.
    if (isUp(entry.record.state) && entry.settled) await this.view.refresh(0);
    if (entry.holdsRoom) return;
    await this.options.disk.check();
    await this.lookForRoom(entry.record);
  }

  /** Sandboxes that ended by themselves make room: msb is asked for them before a start is refused. */
  async lookForRoom(record: SandboxRecord, count = 1): Promise<void> {
    if (!this.options.capacity.hasRoom(shareOf(record), record.owner, count)) await this.view.refresh(0);
  }
}
