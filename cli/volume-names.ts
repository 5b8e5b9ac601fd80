import { GIB } from "../components/settings/values";
import { handleOf, minuteOf, type Named, textTable } from "./sandbox-names";

/** A volume as `msb volume ls --format json` has it. */
export interface VolumeRow {
  name: string;
  kind?: string;
  created_at?: string;
  capacity_bytes?: number | null;
}

/** Positions of arguments that name a volume; empty for commands that take none. */
export function volumePositions([group, command = "", ...words]: readonly string[]): number[] {
  if (group !== "volume" || !["rm", "remove", "inspect"].includes(command)) return [];
  const named = words.flatMap((word, index) => (word.startsWith("-") ? [] : [index + 2]));
  return command === "inspect" ? named.slice(0, 1) : named;
}

/** Whether the arguments request a list of volumes without a machine-readable format. */
export const isPlainVolumeList = ([group, command = "", ...options]: readonly string[]): boolean =>
  group === "volume" && ["ls", "list"].includes(command) && options.length === 0;

/** Arguments for msb, with its own names of volumes. @throws UserError where a name is not enough */
export function withVolumeHandles(words: readonly string[], volumes: readonly Named[]): string[] {
  const translated = [...words];
  for (const at of volumePositions(words)) translated[at] = handleOf(words[at] ?? "", volumes, "volumes");
  return translated;
}

/** The volumes as a table. */
export function volumeTable(rows: readonly VolumeRow[], volumes: readonly Named[]): string {
  if (rows.length === 0) return "No volumes found.";
  const cells = rows.map(({ name: handle, kind, created_at, capacity_bytes }, index) => {
    const { id, name = handle, owner } = volumes[index] ?? {};
    const size = capacity_bytes ? `${Math.round((capacity_bytes / GIB) * 10) / 10} GiB` : "-";
    return [name, kind ?? "-", size, owner ?? "-", minuteOf(created_at), id ?? "-"];
  });
  return textTable([["NAME", "KIND", "SIZE", "OWNER", "CREATED (UTC)", "ID"], ...cells]);
}
