import type { StackSettings } from "./schema";
import type { SettingError } from "./setting-errors";
import { MIB } from "./values";

type Kind = NonNullable<StackSettings["warm"]>[number];

/** Pre-booted sandboxes for which the limits have no room would never be booted. */
export function warmError({
  warm = [],
  limits = {},
  memoryLimit,
}: Partial<StackSettings>): SettingError | undefined {
  const { memoryMiB = memoryLimit === undefined ? undefined : memoryLimit / MIB, cpus, sandboxes } = limits;
  const of = (limit: keyof typeof limits) =>
    limits[limit] === undefined ? "memoryLimit" : `limits.${limit}`;
  const sums = [
    { sum: total(warm, (kind) => kind.memoryMiB), limit: memoryMiB, unit: "MiB", name: of("memoryMiB") },
    { sum: total(warm, (kind) => kind.cpus), limit: cpus, unit: "CPUs", name: of("cpus") },
    { sum: total(warm, () => 1), limit: sandboxes, unit: "running sandboxes", name: of("sandboxes") },
  ];
  const over = sums.find(({ sum, limit = Infinity }) => sum > limit);
  if (!over) return undefined;
  const fitting = thatFit(warm, { memoryMiB, cpus, sandboxes });
  return {
    key: "warm",
    problem: `needs ${over.sum} ${over.unit}, more than ${over.name} allows: ${over.limit}`,
    accepted: `at most ${over.limit} ${over.unit} in all, or a higher ${over.name}`,
    fix: [{ key: "warm", value: fitting.length === 0 ? undefined : JSON.stringify(fitting) }],
  };
}

/** As many of each kind, from the first on, as there is room for. */
function thatFit(
  warm: Kind[],
  { memoryMiB = Infinity, cpus = Infinity, sandboxes = Infinity }: Partial<Record<string, number>>,
): Kind[] {
  const kinds: Kind[] = [];
  for (const kind of warm) {
    const left = (limit: number, of: (kind: Kind) => number) =>
      Math.floor((limit - total(kinds, of)) / of(kind));
    const count = Math.min(
      kind.count,
      left(memoryMiB, (each) => each.memoryMiB),
      left(cpus, (each) => each.cpus),
      left(sandboxes, () => 1),
    );
    if (count > 0) kinds.push({ ...kind, count });
  }
  return kinds;
}

const total = (kinds: Kind[], of: (kind: Kind) => number): number =>
  kinds.reduce((sum, kind) => sum + kind.count * of(kind), 0);
