import { type ServerWritableStream, status } from "@grpc/grpc-js";
import { refusal } from "./allocate";
import type { DeviceList, Empty, Health } from "./api";

/** Streams at once. A kubelet holds one. */
const MOST_WATCHERS = 16;

type Stream = ServerWritableStream<Empty, DeviceList>;
type Watcher = {
  stream: Stream;
  /** What it was told last. */
  told?: Health;
  /** What it was told is still on its way. */
  isBusy: boolean;
};

/**
 * The streams of ListAndWatch. Each is told of a change once it has read what came before: one that does not read costs
 * one list, and gets the state that holds when it reads again.
 */
export class Watchers {
  private readonly watchers = new Set<Watcher>();
  private readonly lists: Record<Health, DeviceList>;
  /** Since when somebody watches, or nobody does, by performance.now(). */
  since = performance.now();

  constructor(
    ids: readonly string[],
    private readonly health: () => Health,
  ) {
    const list = (health: Health): DeviceList => ({ devices: ids.map((ID) => ({ ID, health })) });
    this.lists = { Healthy: list("Healthy"), Unhealthy: list("Unhealthy") };
  }

  get size(): number {
    return this.watchers.size;
  }

  add(stream: Stream): void {
    if (this.size >= MOST_WATCHERS) {
      stream.emit("error", refusal(status.RESOURCE_EXHAUSTED, `${MOST_WATCHERS} watch already`));
      return;
    }
    const watcher: Watcher = { stream, isBusy: false };
    if (this.size === 0) this.since = performance.now();
    this.watchers.add(watcher);
    const gone = () => {
      if (this.watchers.delete(watcher) && this.size === 0) this.since = performance.now();
    };
    for (const event of ["cancelled", "close", "error"]) stream.on(event, gone);
    this.tell(watcher);
  }

  /** Somebody is expected from now on. */
  restart(): void {
    if (this.size === 0) this.since = performance.now();
  }

  /** The health may have changed. */
  tellAll(): void {
    for (const watcher of this.watchers) this.tell(watcher);
  }

  private tell(watcher: Watcher): void {
    const health = this.health();
    if (watcher.isBusy || watcher.told === health || !this.watchers.has(watcher)) return;
    watcher.told = health;
    watcher.isBusy = true;
    watcher.stream.write(this.lists[health], () => {
      watcher.isBusy = false;
      this.tell(watcher);
    });
  }
}
