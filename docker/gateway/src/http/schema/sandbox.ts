import * as z from "zod";
import { known, limited, optional, text } from "../../sandboxes/fields";
import { imageReference, sandboxSpec, sandboxStatus } from "../../sandboxes/spec";
import { timestamp, uuid } from "./common";

const registry = z.discriminatedUnion("mode", [
  known({ mode: z.literal("auto") }),
  known({ mode: z.literal("anonymous") }),
  known({ mode: z.literal("inline"), username: text(1024), password: text(16 * 1024) }),
  z.looseObject({ mode: z.literal("specific") }),
]);

const image = z.discriminatedUnion("type", [
  known({ type: z.literal("oci"), reference: imageReference }),
  // Known, so that they get their own refusal.
  z.looseObject({ type: z.literal("bind") }),
  z.looseObject({ type: z.literal("disk_image") }),
]);

const quoted = (value: unknown) => JSON.stringify(value)?.slice(0, 64);

/** A create request as clients of 0.6 (`image`) and of 0.7 (`source` and `reference`) send it. */
export const createBody = sandboxSpec.omit({ reference: true }).extend({
  image: z.union([image, imageReference]).optional(),
  source: z
    .enum(["oci", "disk_snapshot"], {
      error: ({ input }) => `${quoted(input)} is not supported; "oci" and "disk_snapshot" are`,
    })
    .optional(),
  /** A snapshot by its id, its name or its digest. */
  disk_snapshot_ref: optional(
    known({
      type: z.literal("managed", { error: "only managed snapshots are supported" }),
      id: limited(256).min(1),
    }),
  ),
  reference: imageReference.optional(),
  slug: optional(limited(63).regex(/^(?=.{3,63}$)[a-z0-9]+(-[a-z0-9]+)*$/, "is not a slug")),
  registry: registry.nullish(),
});

export type CreateBody = z.output<typeof createBody>;

export const sandboxBody = z.object({
  id: uuid,
  org_id: uuid,
  name: z.string(),
  slug: z.string(),
  status: sandboxStatus,
  /** Beside the contract, whose clients know no such status: one that is paused is `running` for them. */
  paused: z.boolean(),
  /** Beside the contract, too: id of the sandbox that it is a fork of. */
  forked_from: uuid.nullable(),
  status_reason: z.enum(["scheduling", "insufficient_capacity"]).nullable(),
  spec: z.looseObject({}).nullable(),
  ephemeral: z.boolean(),
  created_at: timestamp,
  started_at: timestamp.nullable(),
  stopped_at: timestamp.nullable(),
  last_failure_message: z.string().nullable(),
});
export type SandboxBody = z.infer<typeof sandboxBody>;

const booleanText = z.enum(["true", "false"]).transform((value) => value === "true");
const waitSeconds = z.coerce.number().int().min(0).max(3600);

/** Query of create and start. */
export const startQuery = z.looseObject({
  start: booleanText.optional(),
  wait_for: z.literal("running").optional(),
  wait_timeout: waitSeconds.optional(),
});

export const listQuery = z.looseObject({
  limit: z.coerce.number().int().min(1).max(4_294_967_295).default(100),
  cursor: limited(512).optional(),
  labels: limited(65_536).optional(),
});

export const sandboxPage = z.object({ data: z.array(sandboxBody), next_cursor: z.string().nullable() });
