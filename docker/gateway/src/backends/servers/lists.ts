import type { ListQuery, Page, Sandbox } from "../../sandboxes/backend";
import { OrderedEntries } from "../../sandboxes/ordered-entries";
import type { Owner } from "../../sandboxes/scope";
import type { MirrorWatcher } from "./mirror";

/** A place in the order. */
type Placed = { record: Sandbox };

/** The sandboxes of all servers in the order of their creation, as they were last known. */
export class Lists implements MirrorWatcher {
  private readonly all = new OrderedEntries<Placed>();
  private readonly byOwner = new Map<Owner, OrderedEntries<Placed>>();
  private readonly byName = new Map<string, Set<Sandbox>>();
  private readonly places = new Map<Sandbox, Placed>();

  put(sandbox: Sandbox): void {
    const { owner, name } = sandbox;
    const place = { record: sandbox };
    this.places.set(sandbox, place);
    this.all.add(place);
    const own = this.byOwner.get(owner) ?? new OrderedEntries();
    this.byOwner.set(owner, own);
    own.add(place);
    this.byName.set(name, (this.byName.get(name) ?? new Set()).add(sandbox));
  }

  delete(sandbox: Sandbox): void {
    const place = this.places.get(sandbox);
    if (!place) return;
    const { owner, name } = sandbox;
    this.places.delete(sandbox);
    this.all.delete(place);
    const own = this.byOwner.get(owner);
    own?.delete(place);
    if (own?.size === 0) this.byOwner.delete(owner);
    const bearers = this.byName.get(name);
    bearers?.delete(sandbox);
    if (bearers?.size === 0) this.byName.delete(name);
  }

  /** One that bears the name, of one owner or of all. */
  named(name: string, owner: Owner | undefined): Sandbox | undefined {
    for (const sandbox of this.byName.get(name) ?? [])
      if (owner === undefined || sandbox.owner === owner) return sandbox;
    return undefined;
  }

  page({ owner, after, limit, labels, charged = (work) => work() }: ListQuery): Page {
    const pairs = Object.entries(labels);
    const isWanted = ({ record: { spec, resolved } }: Placed) => {
      if (pairs.length === 0) return true;
      const own = spec?.labels ?? resolved?.labels ?? {};
      return pairs.every(([key, value]) => own[key] === value);
    };
    const ordered = owner === undefined ? this.all : this.byOwner.get(owner);
    const page = charged(() => ordered?.page(after, limit, isWanted));
    return { items: page?.entries.map(({ record }) => record) ?? [], more: page?.more ?? false };
  }
}
