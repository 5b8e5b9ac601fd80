import type { ListQuery } from "../../sandboxes/backend";
import { NamesByOwner } from "../../sandboxes/names-by-owner";
import { OrderedByOwner } from "../../sandboxes/ordered-entries";
import { markFilter, type SandboxRow } from "../../sandboxes/sandbox-row";
import { type Owner, uncharged } from "../../sandboxes/scope";
import type { MirrorWatcher } from "./mirror";

/** A place in the order. */
type Placed = { record: SandboxRow };

/** Rows of the sandboxes of all servers in the order of their creation, as they were last known. */
export class Lists implements MirrorWatcher {
  private readonly ordered = new OrderedByOwner<Placed>();
  private readonly byName = new NamesByOwner<SandboxRow>();
  private readonly places = new Map<SandboxRow, Placed>();

  put(sandbox: SandboxRow): void {
    const place = { record: sandbox };
    this.places.set(sandbox, place);
    this.ordered.add(place);
    this.byName.add(sandbox, sandbox);
  }

  delete(sandbox: SandboxRow): void {
    const place = this.places.get(sandbox);
    if (!place) return;
    this.places.delete(sandbox);
    this.ordered.delete(place);
    this.byName.delete(sandbox, sandbox);
  }

  /** Those that bear the name, of one owner or of all. */
  named = (name: string, owner: Owner | undefined): SandboxRow[] => [...this.byName.of(name, owner)];

  page({ labels, charged = uncharged, ...query }: ListQuery): { rows: SandboxRow[]; more: boolean } {
    const fits = markFilter(labels);
    const { entries, more } = charged(() => this.ordered.page(query, ({ record }) => fits(record)));
    return { rows: entries.map(({ record }) => record), more };
  }
}
