import { actionOf, type GuestSecret, type GuestSecrets, type HostPattern } from "../../sandboxes/secrets";

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

const pattern = (host: HostPattern): string => (host.type === "any" ? "*" : host.value);
