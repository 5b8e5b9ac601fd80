import type { Owner } from "./scope";

type Named = { name: string; owner: Owner };

/** What bears names, by name and owner: whoever looks for its own pays for nobody else's of the same name. */
export class NamesByOwner<T> {
  private readonly names = new Map<string, Map<Owner, Set<T>>>();

  add({ name, owner }: Named, bearer: T): void {
    const owners = this.names.get(name) ?? new Map<Owner, Set<T>>();
    this.names.set(name, owners.set(owner, (owners.get(owner) ?? new Set()).add(bearer)));
  }

  delete({ name, owner }: Named, bearer: T): void {
    const owners = this.names.get(name);
    const bearers = owners?.get(owner);
    bearers?.delete(bearer);
    if (bearers?.size === 0) owners?.delete(owner);
    if (owners?.size === 0) this.names.delete(name);
  }

  /** Those of one owner, or of all; the bearers of each owner in the order in which they were added. */
  *of(name: string, owner: Owner | undefined): Generator<T> {
    const owners = this.names.get(name);
    if (owner !== undefined) return yield* owners?.get(owner) ?? [];
    for (const bearers of owners?.values() ?? []) yield* bearers;
  }
}
