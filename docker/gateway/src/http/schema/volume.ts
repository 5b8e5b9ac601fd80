import * as z from "zod";
import { known, labels, limited, objectName } from "../../sandboxes/fields";
import { timestamp, uuid } from "./common";

export const createVolumeBody = known({
  name: objectName,
  labels: labels.default({}),
  /** 0 and none at all mean a folder that grows as it needs. */
  capacity_gib: z.int().min(0).max(16_384).nullish(),
  storage: z.literal("block").nullish(),
});

export const volumeBody = z.object({
  id: uuid,
  name: z.string().nullable(),
  kind: z.enum(["host", "managed"]),
  storage: z.literal("block"),
  status: z.enum(["active", "deleting"]),
  used_bytes: z.int().nullable(),
  capacity_bytes: z.int().nullable(),
  labels,
  created_at: timestamp,
  updated_at: timestamp,
});
export type VolumeBody = z.infer<typeof volumeBody>;

export const fileBody = z.object({
  /** Bytes that are no UTF-8 are shown as U+FFFD. */
  path: z.string(),
  /** Only where the path is no UTF-8: its bytes in base64url, as x-msb-file-path takes them. */
  path_base64: z.string().optional(),
  /** The contract has two kinds: whatever is no folder is a file. */
  kind: z.enum(["file", "directory"]),
  type: z.enum(["file", "directory", "symlink", "fifo", "socket", "character_device", "block_device"]),
  /** Where a symbolic link points to. */
  target: z.string().optional(),
  size: z.number(),
  mode: z.int(),
  uid: z.int(),
  gid: z.int(),
  readonly: z.boolean(),
  accessed_at: timestamp.nullable(),
  modified_at: timestamp.nullable(),
  created_at: timestamp.nullable(),
});
export type FileBody = z.infer<typeof fileBody>;

/** Longer than any path of Linux; what such a one may be the volume's files say. */
const path = limited(8192);
export const pathBody = known({ path });
export const fromToBody = known({ from: path, to: path });
