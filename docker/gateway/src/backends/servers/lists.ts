import type { ListQuery, Page, Sandbox } from "../../sandboxes/backend";
import type { Versioned } from "../../sandboxes/changes";
import { OrderedEntries } from "../../sandboxes/ordered-entries";
import type { Owner } from "../../sandboxes/scope";
import type { MirrorWatcher } from "./mirror";

type Listed = Versioned & { record: Sandbox };

/** The sandboxes of all servers in the order of their creation, as they were last known. */
export class Lists implements MirrorWatcher {
  private readonly all = new OrderedEntries<Listed>();
  private readonly byOwner = new Map<Owner, OrderedEntries<Listed>>();
  private readonly byName = new Map<string, Set<Sandbox>>();
  private readonly listed = new Map<Versioned, Listed>();

  put(item: Versioned): void {
    const { owner, name } = item.sandbox;
    const entry = { ...item, record: item.sandbox };
    this.listed.set(item, entry);
    this.all.add(entry);
    const own = this.byOwner.get(owner) ?? new OrderedEntries();
    this.byOwner.set(owner, own);
    own.add(entry);
    this.byName.set(name, (this.byName.get(name) ?? new Set()).add(item.sandbox));
  }

  delete(item: Versioned): void {
    const entry = this.listed.get(item);
    if (!entry) return;
    const { owner, name } = item.sandbox;
    this.listed.delete(item);
    this.all.delete(entry);
    const own = this.byOwner.get(owner);
    own?.delete(entry);
    if (own?.size === 0) this.byOwner.delete(owner);
    const bearers = this.byName.get(name);
    bearers?.delete(item.sandbox);
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
    const isWanted = ({ sandbox }: Listed) => {
      if (pairs.length === 0) return true;
      const own = sandbox.spec?.labels ?? sandbox.resolved?.labels ?? {};
      return pairs.every(([key, value]) => own[key] === value);
    };
    const ordered = owner === undefined ? this.all : this.byOwner.get(owner);
    const { entries, more } = charged(() => ordered?.page(after, limit, isWanted)) ?? {
      entries: [],
      more: false,
    };
    return {
      items: entries.map(({ sandbox }) => sandbox),
      versions: entries.map(({ version }) => version),
      more,
    };
  }
}
