import { isIP } from "node:net";
import { parseSshHost, urlHost } from "../host/connection";
import type { HostSettings } from "./stack-settings";
import { hasTls, isGiven } from "./tls";

/** Where clients find the server: by the address it is bound to, or the host's own where that is any address. */
export function endpointUrl(
  settings: Pick<HostSettings, "bindAddress" | "hostPort" | "host" | "tls">,
): string {
  const { tls, hostPort } = settings;
  // A certificate of the user's is for a name of theirs.
  const [name] = isGiven(tls) ? tls.names : [];
  return `${hasTls(tls) ? "https" : "http"}://${urlHost(name ?? endpointHost(settings))}:${hostPort}`;
}

/** The address, or the name that an `ssh://` host has in its setting. */
export function endpointHost({ bindAddress, host }: Pick<HostSettings, "bindAddress" | "host">): string {
  if (bindAddress !== "0.0.0.0" && bindAddress !== "::") return bindAddress;
  return sshAddress(host) ?? "127.0.0.1";
}

/** Names of DNS that clients may know the server by. */
export function hostNames({ host, tls }: Pick<HostSettings, "host" | "tls">): string[] {
  return [sshAddress(host), ...tls.names].filter(
    (name) => name !== undefined && isIP(name) === 0,
  ) as string[];
}

function sshAddress(host: string): string | undefined {
  if (!host.startsWith("ssh://")) return undefined;
  const connection = parseSshHost(host);
  return connection.kind === "ssh" ? connection.address : undefined;
}
