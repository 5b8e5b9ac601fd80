import type { Reporter } from "../../setup/report";
import type { SetupHost } from "../stack";
import { madeEmulatedHosts, type Resource, resourcesOf } from "./host-resources";
import { dockerOn } from "./on-host";

/**
 * The resources of hosts whose engine does not answer: refreshing them would fail the whole run. The program still reports
 * why these hosts can't be used. Empty for a stack with one host.
 */
export async function leaveOutUnreachable(
  hosts: readonly SetupHost[],
  resources: readonly Resource[],
  report: Reporter,
): Promise<string[]> {
  if (hosts.length < 2) return [];
  const options = hosts.map(async (host) => {
    const urns = resourcesOf(host, resources);
    // One that was never started is not unreachable: Pulumi makes it.
    if (host.host === "emulated" && madeEmulatedHosts([host], resources).length === 0) return [];
    if (urns.length === 0 || !(await dockerOn(host, ["version", "--format", "{{.Server.Version}}"])).failed)
      return [];
    report.say(`Host ${host.name} does not answer: nothing on it is changed.`);
    return urns;
  });
  return (await Promise.all(options)).flat();
}
