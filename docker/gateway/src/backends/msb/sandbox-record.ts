import * as z from "zod";
import { storedSpec } from "../../sandboxes/payload";
import { egressPolicy } from "./egress";

/**
 * Where a sandbox stands, as far as msb does not know it:
 * - pending: asked for and not made yet (or its making failed): msb has nothing of it
 * - creating: msb is making it; `answered` tells whether the client was told of it already
 * - known: msb has it, and msb's word counts
 * - removing: being removed; a crash in between is finished at the next start
 * - abandoned: its making was cut off; whatever msb still makes of it is removed
 * - gone: removed by itself after its stop, and still answering `stopped` for a while
 */
const phase = z.enum(["pending", "creating", "known", "removing", "abandoned", "gone"]);

export const sandboxRecord = z.object({
  id: z.string(),
  name: z.string(),
  slug: z.string(),
  /** Id of the key that made it; null for one made with msb itself. */
  owner: z.string().nullable(),
  phase,
  answered: z.boolean(),
  ephemeral: z.boolean(),
  /** Null for one that msb made without us. */
  spec: storedSpec.nullable(),
  /** What its network was limited to when it was made; absent for one made with msb, or by an older gateway. */
  egress: egressPolicy.optional(),
  /** What msb made of it; filled in when first needed. */
  resolved: z
    .object({
      reference: z.string(),
      vcpus: z.number(),
      memoryMib: z.number(),
      workdir: z.string().nullish(),
      shell: z.string().nullish(),
      user: z.string().nullish(),
      entrypoint: z.array(z.string()).nullish(),
      cmd: z.array(z.string()).nullish(),
      labels: z.record(z.string(), z.string()),
    })
    .nullable(),
  createdAt: z.string(),
  startedAt: z.string().nullable(),
  stoppedAt: z.string().nullable(),
  /** When the server stops it, whatever happens; null for never. */
  expiresAt: z.number().nullable(),
  /** Milliseconds since the epoch until which an abandoned or gone record is kept. */
  keepUntil: z.number().nullable(),
  lastFailure: z.string().nullable(),
});

export type SandboxRecord = z.infer<typeof sandboxRecord>;
