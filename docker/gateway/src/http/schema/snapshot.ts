import * as z from "zod";
import { known, labels, limited, objectName, optional } from "../../sandboxes/fields";
import { isSnapshotName, snapshotManifest } from "../../sandboxes/snapshot-manifest";
import { errorBody, timestamp, uuid } from "./common";

export const createSnapshotBody = known({
  kind: z.literal("disk", { error: "only disk snapshots can be made" }).default("disk"),
  sandbox_id: limited(128),
  name: objectName.refine(isSnapshotName, "is kept for ids and digests, or ends with a dot"),
  labels: optional(labels),
  force: optional(z.boolean()),
});

export const snapshotListQuery = z.looseObject({
  limit: z.coerce.number().int().min(1).max(4_294_967_295).default(100),
  cursor: limited(512).optional(),
});

export const snapshotBody = z.object({
  kind: z.literal("disk"),
  name: z.string(),
  location: z.object({ type: z.literal("managed"), id: uuid }),
  sandbox_id: uuid,
  digest: z.string(),
  size_bytes: z.int(),
  created_at: timestamp,
  labels: z.record(z.string(), z.string()),
  manifest: snapshotManifest,
});
export type SnapshotBody = z.infer<typeof snapshotBody>;

export const snapshotPage = z.object({ data: z.array(snapshotBody), next_cursor: z.string().nullable() });

export const snapshotOperationBody = z.object({
  id: uuid,
  kind: z.literal("disk"),
  status: z.enum(["queued", "in_progress", "succeeded", "failed"]),
  result: snapshotBody.nullable(),
  error: errorBody.shape.error.nullable(),
  created_at: timestamp,
  updated_at: timestamp,
  completed_at: timestamp.nullable(),
});
export type SnapshotOperationBody = z.infer<typeof snapshotOperationBody>;
