import { ServiceError, serverStopping } from "../../errors";
import type { DiskReserve } from "../../limits/disk-reserve";
import type { WantedForks } from "../../sandboxes/forks";
import { NothingMade } from "./actions";
import type { Admission } from "./admission";
import { isBefore07, type Msb } from "./command-line";
import type { EgressLimit } from "./egress-limit";
import { checkForkable, checkInherited } from "./fork-checks";
import type { Lifecycle } from "./lifecycle";
import type { SandboxCommands } from "./sandbox-commands";
import type { Entry } from "./sandbox-index";
import { forkRecord, type SandboxRecord } from "./sandbox-record";
import { whenFree } from "./when-free";
import { refuseWiderNetwork } from "./wider-network";

/** How long forks wait for their turn. */
const TURN_MS = 15 * 60_000;

/** The forks of one request, which msb makes at once. */
type Batch = {
  /** Ids of those that are still wanted. */
  wanted: Set<string>;
  /** Whether msb may have something of them. */
  asked: boolean;
  abort: AbortController;
  /** Resolves, when all are made, with the layers of their disks. */
  done: Promise<number>;
};

export type ForksOptions = {
  admission: Admission;
  lifecycle: Pick<Lifecycle, "add" | "want" | "hold" | "change" | "saveSoon">;
  commands: Pick<SandboxCommands, "fork" | "remove">;
  msb: Pick<Msb, "lanes" | "version">;
  egress: EgressLimit;
  disk: Pick<DiskReserve, "check">;
  newId: () => string;
  /** Makes room for forks whose records hold theirs; resolves when it is there. */
  giveWay: () => Promise<void>;
  /** Whether volumes are disks, by their ids. */
  disksAmong: (ids: string[]) => Promise<ReadonlySet<string>>;
};

/** Forks: the records of one request are taken at once, and each is a sandbox like any other from then on. */
export class Forks {
  private readonly batches = new Map<string, Batch>();

  constructor(private readonly options: ForksOptions) {}

  /** @throws ServiceError as `SandboxBackend.fork` */
  async begin(source: Entry, { names, inherit }: WantedForks): Promise<Entry[]> {
    const { admission, lifecycle, egress, disk, msb, disksAmong } = this.options;
    admission.refuseWhileDraining();
    if (isBefore07(await msb.version()))
      throw new ServiceError("unsupported", "forks need microsandbox 0.7 on the server");
    checkForkable(source, "soon");
    const disks = await disksAmong(Object.values(source.record.volumes));
    await disk.check();
    await admission.lookForRoom(source.record, names.length);
    // No await between this and the records that take the names and the room.
    const record = checkForkable(source, "soon");
    checkInherited(record, inherit, (id) => disks.has(id));
    // Its rules go to the forks as they are.
    refuseWiderNetwork(record, egress.known());
    admission.checkAll(names, record);
    const records = names.map((name) => forkRecord(record, name, this.options.newId()));
    const adding = this.take(source, records);
    const outcomes = await Promise.allSettled(adding);
    const failed = outcomes.find((each) => each.status === "rejected");
    if (!failed) return Promise.all(adding);
    for (const each of outcomes) if (each.status === "fulfilled") await lifecycle.want(each.value, "removed");
    throw failed.reason;
  }

  /** The action of one fork: it waits for all of its request. @throws NothingMade where msb was not asked */
  async make({ id, handle, owner }: SandboxRecord, signal: AbortSignal): Promise<Partial<SandboxRecord>> {
    const batch = this.batches.get(id);
    if (!batch) {
      const why = "what its source held in memory then is no more: remove it, and fork anew";
      throw new NothingMade(new ServiceError("conflict", why));
    }
    // One that is not wanted any more must not keep the others from being made.
    const leave = () => {
      batch.wanted.delete(id);
      if (batch.wanted.size === 0) batch.abort.abort(signal.reason);
    };
    if (signal.aborted) leave();
    signal.addEventListener("abort", leave, { once: true });
    try {
      const layers = await batch.done;
      signal.throwIfAborted();
      return { layers };
    } catch (error) {
      if (!batch.asked) throw new NothingMade(error);
      await this.options.commands.remove(handle, { owner }).catch(() => undefined);
      throw error;
    } finally {
      signal.removeEventListener("abort", leave);
      this.batches.delete(id);
    }
  }

  /** The server is being stopped: what msb was not asked for yet is not made. */
  drain(): void {
    for (const { asked, abort } of this.batches.values()) if (!asked) abort.abort(serverStopping());
  }

  /** Takes up all of a request; none of the promises is waited for. */
  private take(source: Entry, records: SandboxRecord[]): Promise<Entry>[] {
    const batch: Batch = {
      ...{ wanted: new Set(records.map(({ id }) => id)), asked: false },
      ...{ abort: new AbortController(), done: Promise.resolve(0) },
    };
    for (const { id } of records) this.batches.set(id, batch);
    const adding = records.map((record) => this.options.lifecycle.add(record));
    // Nothing is made of a request before all of it is on disk.
    const added = Promise.all(adding);
    batch.done = added.then(() => this.run(source, records, batch));
    batch.done.catch(() => undefined);
    // What is not on disk is not made.
    for (const [index, { id }] of records.entries()) adding[index]?.catch(() => this.batches.delete(id));
    return adding;
  }

  private run(source: Entry, records: SandboxRecord[], batch: Batch): Promise<number> {
    const { lifecycle, commands, msb, giveWay, egress } = this.options;
    const { signal } = batch.abort;
    const { owner } = source.record;
    const handles = records.map(({ handle }) => handle);
    const work = async () => {
      batch.asked = true;
      // Each capture of what runs adds a file to its disk, also one that fails.
      lifecycle.change(source, { layers: source.record.layers + 1 });
      lifecycle.saveSoon(source);
      await commands.fork(source.record.handle, handles, signal);
      return source.record.layers;
    };
    return msb.lanes.run("boots", { owner, signal, deadlineMs: Date.now() + TURN_MS }, async () => {
      await giveWay();
      // The host's addresses may have changed while the request waited for its turn.
      const check = (entry: Entry) => refuseWiderNetwork(checkForkable(entry, "now"), egress.known());
      return whenFree(lifecycle, source, { signal, check }, work);
    });
  }
}
