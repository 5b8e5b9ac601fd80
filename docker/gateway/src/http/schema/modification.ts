import * as z from "zod";
import { DISPOSITIONS, modificationPolicy, SECRET_CHANGES } from "../../sandboxes/modification";

const remarks = z.array(z.object({ field: z.string(), message: z.string() }));

export const modificationPlanBody = z.object({
  sandbox: z.string(),
  status: z.string(),
  applied: z.boolean(),
  policy: modificationPolicy,
  changes: z.array(
    z.object({
      kind: z.literal("secret"),
      field: z.literal("secret"),
      name: z.string(),
      change: z.enum(SECRET_CHANGES),
      before_ref: z.string().optional(),
      after_ref: z.string().optional(),
      disposition: z.enum(DISPOSITIONS),
      allow_hosts: z.array(z.string()),
      reason: z.string().optional(),
    }),
  ),
  conflicts: remarks,
  warnings: remarks,
});
export type ModificationPlanBody = z.infer<typeof modificationPlanBody>;
