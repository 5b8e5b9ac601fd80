import { comparePositions, type Position } from "../../sandboxes/scope";

export type PartQuery = {
  /** The last one of the part before. */
  after?: Position;
  /** Characters of JSON that it may have; there is always room for one. Default: no end. */
  room?: number;
};

/** The next ones of a list, which is in the order of {@link Position}. */
export function partOf<T extends Position>(
  all: readonly T[],
  { after, room = Number.POSITIVE_INFINITY }: PartQuery,
): { items: T[]; more: boolean } {
  const items: T[] = [];
  let left = room;
  for (const item of all) {
    if (after && comparePositions(item, after) <= 0) continue;
    if (room !== Number.POSITIVE_INFINITY) left -= JSON.stringify(item).length;
    if (left < 0 && items.length > 0) return { items, more: true };
    items.push(item);
  }
  return { items, more: false };
}
