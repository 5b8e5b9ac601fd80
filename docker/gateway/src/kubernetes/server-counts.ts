import { setTimeout as sleep } from "node:timers/promises";
import { isDeepStrictEqual } from "node:util";
import { errorText } from "../errors";
import { type KubernetesApi, type Log, leasesPath, unless } from "./api";

/** How many of each a server has: sandboxes, running or not, and what outlives them. */
export type ServerHas = { sandboxes: number; volumes: number; snapshots: number };

export type ServerCountsOptions = {
  api: KubernetesApi;
  namespace: string;
  /** The StatefulSet of the servers. */
  group: string;
  /** What each server has, by its number; a server of which that is not known is left out. */
  counts: () => Promise<ReadonlyMap<number, ServerHas>>;
  log: Log;
  /** Milliseconds between two looks. Default: 2,000. */
  everyMs?: number;
};

const EVERY_MS = 2_000;
/** What was told is told again after so long, for whoever has deleted it. */
const AGAIN_MS = 60_000;
const SERVERS = "microsandbox-stack/counts";

/**
 * Tells in a Lease for each server what it has: by that a deployment knows whether one can go. All routers tell
 * the same; the last one that has seen a change is right.
 */
export class ServerCounts {
  private readonly told = new Map<number, { has: ServerHas; at: number }>();
  private failing = false;

  constructor(private readonly options: ServerCountsOptions) {}

  /** Goes on until the signal aborts. Never rejects. */
  async keepTelling(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.tell().then(
        () => this.ended(undefined),
        (error) => signal.aborted || this.ended(error),
      );
      const pause = (this.options.everyMs ?? EVERY_MS) * (0.5 + Math.random());
      await sleep(pause, undefined, { signal, ref: false }).catch(() => undefined);
    }
  }

  private async tell(): Promise<void> {
    const counts = await this.options.counts();
    for (const number of this.told.keys())
      if (!counts.has(number)) {
        // Nobody is to believe it once nobody looks.
        await this.forget(number);
        this.told.delete(number);
      }
    for (const [number, has] of counts) {
      const last = this.told.get(number);
      if (last && isDeepStrictEqual(last.has, has) && performance.now() - last.at < AGAIN_MS) continue;
      await this.write(number, has);
      this.told.set(number, { has, at: performance.now() });
    }
  }

  private async write(number: number, has: ServerHas): Promise<void> {
    const { api, group } = this.options;
    const name = this.nameOf(number);
    const annotations = Object.fromEntries(
      Object.entries(has).map(([what, count]) => [`microsandbox-stack/${what}`, String(count)]),
    );
    const metadata = { name, labels: { [SERVERS]: group }, annotations };
    const body = { apiVersion: "coordination.k8s.io/v1", kind: "Lease", metadata };
    const patch = { method: "PATCH", path: `${this.leases}/${name}`, body: { metadata } } as const;
    if ((await unless([404], api.call(patch))) !== undefined) return;
    // Another router may be faster; it is told again with the next change.
    await unless([409], api.call({ method: "POST", path: this.leases, body }));
  }

  private async forget(number: number): Promise<void> {
    const path = `${this.leases}/${this.nameOf(number)}`;
    await unless([404], this.options.api.call({ method: "DELETE", path, body: {} }));
  }

  private get leases(): string {
    return leasesPath(this.options.namespace);
  }
  private nameOf = (number: number): string => `${this.options.group}-${number}`;

  private ended(error: unknown): void {
    if (error !== undefined && !this.failing)
      this.options.log.warn(
        { err: errorText(error) },
        "what servers have can't be told to the Kubernetes API",
      );
    this.failing = error !== undefined;
  }
}
