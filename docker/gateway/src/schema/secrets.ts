import * as z from "zod";
import { optional, text } from "./common";

const hostName = z.string().regex(/^[A-Za-z0-9._-]{1,253}$/, "is not a host name");

const hostPattern = z.discriminatedUnion("type", [
  z.looseObject({ type: z.literal("exact"), value: hostName }),
  z.looseObject({
    type: z.literal("wildcard"),
    value: z.string().regex(/^\*\.[A-Za-z0-9._-]{1,251}$/, "is not a wildcard like *.example.com"),
  }),
  z.looseObject({ type: z.literal("any") }),
]);
export type HostPattern = z.output<typeof hostPattern>;

const violation = z.looseObject({
  type: z.enum(["block", "block_and_log", "block_and_terminate", "passthrough"]),
  hosts: z.array(hostPattern).max(64).default([]),
});

const secret = z.looseObject({
  env_var: text.regex(/^[^=]+$/, "is not a name"),
  value: text.default(""),
  /** Where msb would look for the value, on the server: known, so that it gets its own refusal. */
  source: optional(z.looseObject({ type: z.string() })),
  placeholder: optional(z.string().regex(/^[^\0\r\n]{1,1024}$/, "is not a placeholder")),
  allowed_hosts: z.array(hostPattern).max(64).default([]),
  passthrough_hosts: z.array(hostPattern).max(64).default([]),
  /** Where the placeholder is replaced, as 0.7 says it. */
  substitution: optional(
    z.looseObject({
      headers: z.boolean().default(true),
      header_fields: optional(z.array(z.string().regex(/^[A-Za-z0-9-]{1,128}$/, "is not a header")).max(64)),
      query: z.boolean().default(false),
      body: z.boolean().default(false),
    }),
  ),
  /** The same as 0.6 says it. */
  injection: optional(
    z.looseObject({
      headers: z.boolean().default(true),
      basic_auth: z.boolean().default(true),
      query_params: z.boolean().default(false),
      body: z.boolean().default(false),
    }),
  ),
  violation_action: optional(violation),
  on_violation: optional(violation),
  require_tls_identity: z.boolean().default(true),
});
export type GuestSecret = z.output<typeof secret>;

/** Values that a guest sees as placeholders, and that leave it only for the hosts that may have them. */
export const guestSecrets = z.looseObject({
  entries: z.array(secret).max(64).default([]),
  /** For secrets without an action of their own. */
  passthrough_hosts: optional(z.array(hostPattern).max(64)),
  violation_action: optional(violation),
  on_violation: optional(violation),
});
export type GuestSecrets = z.output<typeof guestSecrets>;
