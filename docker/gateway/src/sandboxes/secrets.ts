import * as z from "zod";
import { invalidSpec } from "../errors";
import { known, limited, list, optional, text } from "./fields";

const hostName = limited(253).regex(/^[A-Za-z0-9._-]+$/, "is not a host name");

export const hostPattern = z.discriminatedUnion("type", [
  known({ type: z.literal("exact"), value: hostName }),
  known({
    type: z.literal("wildcard"),
    value: limited(253).regex(/^\*\.[A-Za-z0-9._-]+$/, "is not a wildcard like *.example.com"),
  }),
  known({ type: z.literal("any") }),
]);
export type HostPattern = z.output<typeof hostPattern>;

const violation = known({
  type: z.enum(["block", "block_and_log", "block_and_terminate", "passthrough"]),
  hosts: list(hostPattern, 64).default([]),
});

const secret = known({
  env_var: text(1024).regex(/^[^=]+$/, "is not a name"),
  value: text(64 * 1024).default(""),
  /** Where msb would look for the value, on the server: known, so that it gets its own refusal. */
  source: optional(z.looseObject({ type: limited(64) })),
  placeholder: optional(limited(1024).regex(/^[^\0\r\n]+$/, "is not a placeholder")),
  allowed_hosts: list(hostPattern, 64).default([]),
  passthrough_hosts: list(hostPattern, 64).default([]),
  /** Where the placeholder is replaced, as 0.7 says it. */
  substitution: optional(
    known({
      headers: z.boolean().default(true),
      header_fields: optional(list(limited(128).regex(/^[A-Za-z0-9-]+$/, "is not a header"), 64)),
      query: z.boolean().default(false),
      body: z.boolean().default(false),
    }),
  ),
  /** The same as 0.6 says it. */
  injection: optional(
    known({
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
export const guestSecrets = known({
  entries: list(secret, 64).default([]),
  /** For secrets without an action of their own. */
  passthrough_hosts: optional(list(hostPattern, 64)),
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
