import * as z from "zod";

export const volumeRecord = z.object({
  id: z.string(),
  name: z.string(),
  /** Checked when it was made, by the bounds of then. */
  labels: z.record(z.string(), z.string()),
  createdAt: z.string(),
  /** Id of the key that made it; null for one made with msb itself. */
  owner: z.string().nullable().default(null),
});
export type VolumeRecord = z.infer<typeof volumeRecord>;
