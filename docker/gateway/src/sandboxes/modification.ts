import * as z from "zod";
import { limited, list, optional, text } from "./fields";
import { hostPattern } from "./secrets";

/** `no_restart`: only what needs none. `next_start`: what runs is left as it is. `restart`: restart it where that is needed. */
export const modificationPolicy = z.enum(["no_restart", "next_start", "restart"]);

const secretName = text(1024).regex(/^[^=]+$/, "is not a name");

/** What of a secret changes besides its value; what is left out stays. A misspelled restriction must not be dropped. */
const settings = {
  name: secretName,
  placeholder: optional(limited(1024).regex(/^[^\0\r\n]+$/, "is not a placeholder")),
  allowed_hosts: optional(list(hostPattern, 64)),
  substitution: optional(
    z.strictObject({
      headers: z.boolean().default(true),
      header_fields: optional(list(limited(128).regex(/^[A-Za-z0-9-]+$/, "is not a header"), 64)),
      query: z.boolean().default(false),
      body: z.boolean().default(false),
    }),
  ),
  passthrough_hosts: optional(list(hostPattern, 64)),
  violation_action: optional(
    z.strictObject({ type: z.enum(["block", "block_and_log", "block_and_terminate"]) }),
  ),
  require_tls_identity: optional(z.boolean()),
};

const change = <T extends z.ZodType>(secret: T) =>
  z.strictObject({
    policy: modificationPolicy.default("no_restart"),
    secrets: list(secret, 64).default([]),
    secrets_remove: list(secretName, 64).default([]),
  });

/** A change that is only to be planned: it holds no value. */
export const plannedModification = change(
  z.strictObject({
    ...settings,
    material: z.strictObject({ type: z.enum(["provided", "absent"]) }),
  }),
);
export type PlannedModification = z.output<typeof plannedModification>;

/** A change to the secrets of a sandbox that is made. A secret with a value is added, or its value replaced. */
export const modification = change(
  z.strictObject({ ...settings, value: optional(text(64 * 1024).min(1, "is empty")) }),
);
export type Modification = z.output<typeof modification>;

/** When a change takes effect. */
export const DISPOSITIONS = ["live", "next_start", "requires_restart", "unsupported"] as const;

/** What can become of a secret. */
export const SECRET_CHANGES = [
  "added",
  "rotated",
  "removed",
  "renamed",
  "hosts_updated",
  "placeholder_updated",
] as const;

/** What a change does to one secret; it holds no value. */
export type SecretChange = {
  name: string;
  change: (typeof SECRET_CHANGES)[number];
  /** What the guest sees in the place of the value. */
  before_ref?: string;
  after_ref?: string;
  disposition: (typeof DISPOSITIONS)[number];
  allow_hosts: string[];
  reason?: string;
};

type Remark = { field: string; message: string };

export type ModificationPlan = {
  /** The status by which it was planned, in the runtime's words. */
  status: string;
  applied: boolean;
  policy: z.output<typeof modificationPolicy>;
  changes: SecretChange[];
  /** Why it can't be applied. */
  conflicts: Remark[];
  warnings: Remark[];
};
