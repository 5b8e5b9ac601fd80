import * as z from "zod";
import { invalidSpec } from "../errors";
import { optional, text } from "./fields";

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

/**
 * Refuses secrets that the server would have to find the value of, and what msb can't do. @throws ServiceError 400
 */
export function checkSecrets({ entries, ...fallback }: GuestSecrets): void {
  const names = new Set<string>();
  for (const [index, entry] of entries.entries()) {
    const at = `network.secrets.entries[${index}]`;
    if (entry.source)
      throw invalidSpec(
        `${at}.source: the value would be read from the server's ${entry.source.type === "env" ? "environment" : entry.source.type}; send it itself`,
      );
    if (entry.value === "") throw invalidSpec(`${at}.value: a value is needed`);
    if (entry.allowed_hosts.length === 0) throw invalidSpec(`${at}.allowed_hosts: a host is needed`);
    if (names.has(entry.env_var)) throw invalidSpec(`${at}.env_var: there is another secret of that name`);
    if (entry.injection && entry.injection.headers !== entry.injection.basic_auth)
      throw invalidSpec(`${at}.injection: headers and basic_auth can only be on or off together`);
    names.add(entry.env_var);
  }
  if (actionOf(fallback)?.type === "passthrough")
    throw invalidSpec("network.secrets: passthrough is only supported for a secret, not for all of them");
}

/** 0.7's name for it, or 0.6's. */
export const actionOf = ({
  violation_action,
  on_violation,
}: Pick<GuestSecret, "violation_action" | "on_violation">) => violation_action ?? on_violation;
