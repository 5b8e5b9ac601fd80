import * as z from "zod";
import { labels } from "../../sandboxes/fields";

export const volumeRecord = z.object({
  id: z.string(),
  name: z.string(),
  labels,
  createdAt: z.string(),
  /** Id of the key that made it; null for one made with msb itself. */
  owner: z.string().nullable().default(null),
});
export type VolumeRecord = z.infer<typeof volumeRecord>;
