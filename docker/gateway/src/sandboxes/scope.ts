/** Id of the key that something belongs to; null for what was made on the server itself. */
export type Owner = string | null;

/** Whose things are meant; without an owner: everybody's. */
export type Scope = { owner?: Owner };

/** A place in a list: by time of creation, then id. */
export type Position = { createdAt: string; id: string };

/** The order of lists. */
export function comparePositions(a: Position, b: Position): number {
  if (a.createdAt !== b.createdAt) return a.createdAt < b.createdAt ? -1 : 1;
  return a.id === b.id ? 0 : a.id < b.id ? -1 : 1;
}

/** Does what holds the event loop, for whoever counts that. */
export type Charged = <T>(work: () => T) => T;

/** Where nobody counts it. */
export const uncharged: Charged = (work) => work();
