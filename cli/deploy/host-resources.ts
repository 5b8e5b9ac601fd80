import { EMULATED_CLUSTER } from "../../components/cluster/recorded-cluster";
import { resourceName, SERVICE } from "../../components/settings/hosts";
import { hostMessage } from "../../components/settings/visible-error";
import type { SetupHost } from "../stack";

/** A resource of the state, as far as its owner is concerned. */
export interface Resource {
  urn: string;
  type: string;
  parent?: string;
}

/** The resources below the component of a host, which come after it in the state. */
export function resourcesOf({ name }: Pick<SetupHost, "name">, resources: readonly Resource[]): string[] {
  const below = new Set<string>();
  for (const { urn, type, parent } of resources) {
    const isHost = type === "microsandbox:index:Microsandbox";
    if (isHost ? urn.endsWith(`::${resourceName(SERVICE, name)}`) : parent && below.has(parent))
      below.add(urn);
  }
  return [...below];
}

/** Whether it is the QEMU machine of an emulated host: nothing is on a host that the state has none of. */
export const isMachine = ({ type, urn }: Resource): boolean =>
  type === "command:local:Command" && urn.endsWith("-emulated-machine");

/** Whether it is the emulated cluster of a stack, which goes with all that is on it. */
export const isEmulatedCluster = ({ type }: Resource): boolean => type === EMULATED_CLUSTER;

/** The emulated hosts that the stack has made, by its state: one of the same name may be another deployment's. */
export function madeEmulatedHosts(hosts: readonly SetupHost[], resources: readonly Resource[]): SetupHost[] {
  return hosts.filter((host) => {
    const own = new Set(resourcesOf(host, resources));
    return host.host === "emulated" && resources.some((each) => own.has(each.urn) && isMachine(each));
  });
}

/**
 * A message for each host about its resources; with several hosts, the host is named.
 *
 * @param explain the text for one host, or nothing
 */
export function sayByHost<R extends Resource>(
  hosts: readonly SetupHost[],
  resources: readonly R[],
  explain: (host: SetupHost, own: R[]) => string | undefined,
): string[] {
  return hosts.flatMap((host) => {
    const urns = new Set(resourcesOf(host, resources));
    const text = explain(
      host,
      resources.filter(({ urn }) => urns.has(urn)),
    );
    if (text === undefined) return [];
    return [hosts.length > 1 ? hostMessage(host.name, text) : text];
  });
}
