import { invalidConfig } from "./errors";
import type { GuestSecret, GuestSecrets, HostPattern } from "./schema/secrets";

/**
 * Refuses secrets that the server would have to find the value of, and what msb can't do. @throws ApiError 400
 */
export function checkSecrets({ entries, ...fallback }: GuestSecrets): void {
  const names = new Set<string>();
  for (const [index, entry] of entries.entries()) {
    const at = `network.secrets.entries[${index}]`;
    if (entry.source)
      throw invalidConfig(
        `${at}.source: the value would be read from the server's ${entry.source.type === "env" ? "environment" : entry.source.type}; send it itself`,
      );
    if (entry.value === "") throw invalidConfig(`${at}.value: a value is needed`);
    if (entry.allowed_hosts.length === 0) throw invalidConfig(`${at}.allowed_hosts: a host is needed`);
    if (names.has(entry.env_var)) throw invalidConfig(`${at}.env_var: there is another secret of that name`);
    if (entry.injection && entry.injection.headers !== entry.injection.basic_auth)
      throw invalidConfig(`${at}.injection: headers and basic_auth can only be on or off together`);
    names.add(entry.env_var);
  }
  if (actionOf(fallback)?.type === "passthrough")
    throw invalidConfig("network.secrets: passthrough is only supported for a secret, not for all of them");
}

/** The secrets as msb's configuration file has them, by name. */
export function secretsConf({
  entries,
  passthrough_hosts = [],
}: GuestSecrets): Record<string, object> | undefined {
  if (entries.length === 0) return undefined;
  return Object.fromEntries(entries.map((entry) => [entry.env_var, secretConf(entry, passthrough_hosts)]));
}

/** The flag for what happens to a placeholder on its way to a host that must not have the secret. */
export function secretArguments(secrets: GuestSecrets | undefined): string[] {
  const action = secrets?.entries.length ? actionOf(secrets) : undefined;
  return action ? ["--secret-violation-action", action.type.replaceAll("_", "-")] : [];
}

function secretConf(entry: GuestSecret, passedByDefault: HostPattern[]): object {
  const action = actionOf(entry);
  const passes = action?.type === "passthrough" ? action.hosts : action ? [] : passedByDefault;
  return {
    value: entry.value,
    placeholder: entry.placeholder,
    allow: entry.allowed_hosts.map(pattern),
    substitution: substitutionOf(entry),
    passthrough: [...entry.passthrough_hosts, ...passes].map(pattern),
    violation_action: action?.type === "passthrough" ? undefined : action?.type,
    require_tls_identity: entry.require_tls_identity,
  };
}

function substitutionOf({ substitution, injection }: GuestSecret): object | undefined {
  if (substitution) {
    const { headers, header_fields, query, body } = substitution;
    return { headers, header_fields, query, body };
  }
  return injection && { headers: injection.headers, query: injection.query_params, body: injection.body };
}

/** 0.7's name for it, or 0.6's. */
const actionOf = ({
  violation_action,
  on_violation,
}: Pick<GuestSecret, "violation_action" | "on_violation">) => violation_action ?? on_violation;

const pattern = (host: HostPattern): string => (host.type === "any" ? "*" : host.value);
