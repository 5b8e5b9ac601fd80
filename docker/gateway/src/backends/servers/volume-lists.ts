import type { Charged, Owner, Volume } from "../../sandboxes/backend";
import { SharedRead } from "../../shared-read";
import type { Server } from "./server";

/** A list of a server's, of an owner or (undefined) of all. */
class List {
  /** What was last known. */
  volumes: Volume[] | undefined;
  private readonly removedMeanwhile = new Set<Set<string>>();
  private readonly read: SharedRead;
  private charged: Charged | undefined;

  constructor(server: Server, owner: Owner | undefined) {
    this.read = new SharedRead(async () => {
      const removed = new Set<string>();
      this.removedMeanwhile.add(removed);
      try {
        const listed = await server.backend.volumes.list(owner === undefined ? {} : { owner }, this.charged);
        this.volumes = listed.filter(({ id }) => !removed.has(id));
      } finally {
        this.removedMeanwhile.delete(removed);
      }
    });
  }

  /** Read after this is called; one read serves all who wait for one to begin, at the cost of one of them. */
  async look(charged?: Charged): Promise<Volume[]> {
    this.charged = charged;
    await this.read.refresh(0);
    return this.volumes ?? [];
  }

  remove(id: string): void {
    for (const removed of this.removedMeanwhile) removed.add(id);
    this.volumes = this.volumes?.filter((volume) => volume.id !== id);
  }
}

/** What is known of all servers' volumes. */
export class VolumeLists {
  private readonly lists = new WeakMap<Server, Map<Owner | undefined, List>>();

  /** As it is now. @throws ServiceError */
  look(server: Server, owner: Owner | undefined, charged?: Charged): Promise<Volume[]> {
    const lists = this.lists.get(server) ?? new Map<Owner | undefined, List>();
    const list = lists.get(owner) ?? new List(server, owner);
    this.lists.set(server, lists.set(owner, list));
    return list.look(charged);
  }

  /** What was last known; undefined where that is nothing. */
  known(server: Server, owner: Owner | undefined): Volume[] | undefined {
    const lists = this.lists.get(server);
    const all = lists?.get(undefined)?.volumes;
    return lists?.get(owner)?.volumes ?? all?.filter((volume) => volume.owner === owner);
  }

  /** One was made. */
  add(server: Server, volume: Volume): void {
    for (const owner of [volume.owner, undefined]) this.lists.get(server)?.get(owner)?.volumes?.push(volume);
  }

  /** One is no more: also what is being read does not bring it back. */
  remove(server: Server, id: string): void {
    for (const list of this.lists.get(server)?.values() ?? []) list.remove(id);
  }
}
