import { isIP } from "node:net";
import type { HostSettings } from "./schema";
import { isUnspecified } from "./values";

/**
 * Where clients find the server: by the address it is bound to, or the host's own where that is any address.
 *
 * @param tls which certificate the server has
 * @param names what clients call the server by
 */
export function endpointUrl(
  settings: Pick<HostSettings, "bindAddress" | "hostPort" | "host">,
  tls: "none" | "generated" | "given",
  names: readonly string[],
): string {
  // A certificate of the user's is for a name of theirs.
  const [name] = tls === "given" ? names : [];
  const scheme = tls === "none" ? "http" : "https";
  return `${scheme}://${urlHost(name ?? endpointHost(settings))}:${settings.hostPort}`;
}

/** The address, or the name that an `ssh://` host has in its setting. */
export function endpointHost({ bindAddress, host }: Pick<HostSettings, "bindAddress" | "host">): string {
  if (!isUnspecified(bindAddress)) return bindAddress;
  return sshAddress(host) ?? "127.0.0.1";
}

/** Names of DNS that clients may know the server by. */
export function hostNames(host: string, names: readonly string[]): string[] {
  return [sshAddress(host), ...names].filter((name) => name !== undefined && isIP(name) === 0) as string[];
}

/** The address of a host over SSH; undefined for any other. IPv6 stands without brackets. */
export function sshAddress(host: string): string | undefined {
  return host.startsWith("ssh://") ? new URL(host).hostname.replace(/^\[|\]$/g, "") : undefined;
}

/** An address as it stands in a URL: IPv6 in brackets. */
export function urlHost(address: string): string {
  return address.includes(":") ? `[${address}]` : address;
}
