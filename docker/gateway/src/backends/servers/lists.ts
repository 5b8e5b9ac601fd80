import type { ListQuery, Page, Sandbox } from "../../sandboxes/backend";
import type { CompactSandbox } from "../../sandboxes/compact-sandbox";
import { labelFilter, OrderedByOwner } from "../../sandboxes/ordered-entries";
import type { Owner } from "../../sandboxes/scope";
import type { MirrorWatcher } from "./mirror";

/** A place in the order. */
type Placed = { record: CompactSandbox };

/** The sandboxes of all servers in the order of their creation, as they were last known. */
export class Lists implements MirrorWatcher {
  private readonly ordered = new OrderedByOwner<Placed>();
  private readonly byName = new Map<string, Set<CompactSandbox>>();
  private readonly places = new Map<CompactSandbox, Placed>();

  put(sandbox: CompactSandbox): void {
    const { name } = sandbox;
    const place = { record: sandbox };
    this.places.set(sandbox, place);
    this.ordered.add(place);
    this.byName.set(name, (this.byName.get(name) ?? new Set()).add(sandbox));
  }

  delete(sandbox: CompactSandbox): void {
    const place = this.places.get(sandbox);
    if (!place) return;
    const { name } = sandbox;
    this.places.delete(sandbox);
    this.ordered.delete(place);
    const bearers = this.byName.get(name);
    bearers?.delete(sandbox);
    if (bearers?.size === 0) this.byName.delete(name);
  }

  /** Those that bear the name, of one owner or of all. */
  named = (name: string, owner: Owner | undefined): Sandbox[] =>
    [...(this.byName.get(name) ?? [])].filter((sandbox) => owner === undefined || sandbox.owner === owner);

  page({ labels, charged = (work) => work(), ...query }: ListQuery): Page {
    const fits = labelFilter(labels);
    const { entries, more } = charged(() =>
      this.ordered.page(query, ({ record: { labels, resolved } }) => fits({ spec: { labels }, resolved })),
    );
    return { items: entries.map(({ record }) => record), more };
  }
}
