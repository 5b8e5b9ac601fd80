import * as z from "zod";
import type { Volume } from "../../sandboxes/backend";
import { isInterrupted, type SandboxRecord } from "./sandbox-record";

const currentRecord = z.object({
  id: z.string(),
  /** What msb calls it: the id; the name for one that was made with msb itself or by a gateway before 0.2. */
  handle: z.string(),
  name: z.string(),
  /** Checked when it was made, by the bounds of then. */
  labels: z.record(z.string(), z.string()),
  createdAt: z.string(),
  /** Id of the key that made it; null for one made with msb itself. */
  owner: z.string().nullable().default(null),
  /**
   * `making` and `deleting` are finished after a crash. Of what is `removed` nothing is there; it is kept for a while, as msb
   * may still be making it for a process that is no more.
   */
  state: z.enum(["making", "active", "deleting", "removed"]).default("active"),
  /** A disk of that size; null for a folder; undefined where msb is to be asked. */
  capacityBytes: z.number().nullable().optional(),
});
export type VolumeRecord = z.output<typeof currentRecord>;

/** Reads a record of this version or the one before. */
export const volumeRecord: z.ZodType<VolumeRecord> = z.preprocess(
  (raw) =>
    typeof raw === "object" && raw !== null && "name" in raw && !("handle" in raw)
      ? { ...raw, handle: raw.name }
      : raw,
  currentRecord,
);

/** Volumes as msb lists them. */
export const listedVolumes = z.array(
  z.object({
    name: z.string(),
    kind: z.string(),
    created_at: z.string(),
    capacity_bytes: z.number().nullish(),
  }),
);
export type ListedVolume = z.infer<typeof listedVolumes>[number];

/** Whether a sandbox mounts a volume; one of which there is nothing any more does not. */
export function mounts(sandbox: SandboxRecord, volume: VolumeRecord) {
  const { spec, volumes, state } = sandbox;
  if (state === "gone" || isInterrupted(sandbox)) return false;
  if (Object.values(volumes).includes(volume.id)) return true;
  // Made before volumes had ids of their own in msb.
  return (spec?.mounted ?? []).some((name) => volumes[name] === undefined && name === volume.handle);
}

/** Bytes of a disk; null for a folder, which grows. */
export const capacityOf = ({ kind, capacity_bytes }: ListedVolume): number | null =>
  kind === "dir" ? null : (capacity_bytes ?? 0);

/** The record of a volume that was made with msb itself. */
export function adopted(row: ListedVolume, id: string): VolumeRecord {
  return {
    ...{ id, handle: row.name, name: row.name, labels: {}, owner: null, state: "active" },
    ...{ createdAt: row.created_at, capacityBytes: capacityOf(row) },
  };
}

/** A volume as it stands, for everybody above. */
export function volumeOf({ id, name, owner, labels, capacityBytes, createdAt }: VolumeRecord): Volume {
  return {
    ...{ id, name, owner, labels, usedBytes: null, capacityBytes: capacityBytes ?? null },
    ...{ createdAt, updatedAt: createdAt },
  };
}
