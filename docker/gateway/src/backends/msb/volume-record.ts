import * as z from "zod";

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
  /** `making` and `deleting` are finished after a crash. */
  state: z.enum(["making", "active", "deleting"]).default("active"),
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
