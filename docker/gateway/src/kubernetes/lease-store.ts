import type { Hold } from "../backends/servers/names";
import { type KubernetesApi, leasesPath, unless } from "./api";
import {
  holdOf,
  leaseListShape,
  leaseName,
  leasePatch,
  leaseSelector,
  leaseShape,
  newLease,
  type Written,
} from "./lease";

/** Leases on a page of a list. */
const PAGE = 500;

export type Found = ReturnType<typeof holdOf>;

/**
 * Holds as Leases of a group. All throw ApiError, and Error where the API does not answer: the change may have been made
 * nevertheless.
 */
export class LeaseStore {
  private readonly leases: string;

  constructor(
    private readonly api: KubernetesApi,
    namespace: string,
    private readonly group: string,
  ) {
    this.leases = leasesPath(namespace);
  }

  /** Now, by the clock that counts. */
  now = (): number => Date.now() + this.api.ahead;

  /** Undefined where there is one already. */
  async create(name: string, written: Written, signal?: AbortSignal): Promise<Hold | undefined> {
    const call = { method: "POST", path: this.leases, body: newLease(this.group, name, written) } as const;
    return this.found(await unless([409], this.api.call(call, signal)))?.hold;
  }

  /** Undefined where there is none. */
  async read(name: string, signal?: AbortSignal): Promise<Found | undefined> {
    const call = { method: "GET", path: this.pathOf(name) } as const;
    return this.found(await unless([404], this.api.call(call, signal)));
  }

  /** Undefined where another hold has taken the place of that one. */
  async replace(
    name: string,
    { revision }: Hold,
    written: Written,
    signal?: AbortSignal,
  ): Promise<Hold | undefined> {
    const call = { method: "PATCH", path: this.pathOf(name), body: leasePatch(revision, written) } as const;
    return this.found(await unless([404, 409], this.api.call(call, signal)))?.hold;
  }

  /** Nothing where another hold has taken the place of that one. */
  delete = (name: string, hold: Hold, signal?: AbortSignal): Promise<void> =>
    this.deleteAt(this.pathOf(name), hold, signal);

  /** Deletes all holds of the group that are so. */
  async deleteAll(isIt: (hold: Hold) => boolean): Promise<void> {
    let next: string | undefined = "";
    while (next !== undefined) {
      const query = `labelSelector=${leaseSelector(this.group)}&limit=${PAGE}`;
      const path = `${this.leases}?${query}${next && `&continue=${encodeURIComponent(next)}`}`;
      const page = leaseListShape.parse(await this.api.call({ method: "GET", path }));
      for (const lease of page.items) {
        const { hold } = holdOf(lease, this.api.ahead);
        if (isIt(hold)) await this.deleteAt(`${this.leases}/${lease.metadata.name}`, hold);
      }
      next = page.metadata.continue || undefined;
    }
  }

  private async deleteAt(path: string, hold: Hold, signal?: AbortSignal): Promise<void> {
    const preconditions = { resourceVersion: hold.revision };
    const body = { apiVersion: "v1", kind: "DeleteOptions", preconditions };
    await unless([404, 409], this.api.call({ method: "DELETE", path, body }, signal));
  }

  private pathOf = (name: string): string => `${this.leases}/${leaseName(this.group, name)}`;
  private found = (answer: unknown): Found | undefined =>
    answer === undefined ? undefined : holdOf(leaseShape.parse(answer), this.api.ahead);
}
