import { hostMessage } from "../../components/settings/visible-error";
import type { Reporter } from "../../setup/report";
import type { SetupHost } from "../stack";
import { compare, listScript, parseObjects, type Repair, type StateResource, sentence } from "./drift";
import { dockerOn, shellOn } from "./recover";
import { settled } from "./settled";

/**
 * Detects changes made outside Pulumi on the hosts of a stack, reports them, and repairs what a refresh would not. Hosts that
 * do not answer and foreign objects are left to Pulumi.
 */
export async function repairDrift(
  hosts: readonly SetupHost[],
  resources: readonly StateResource[],
  report: Reporter,
): Promise<void> {
  const look = async (host: SetupHost): Promise<[SetupHost, Repair]> => {
    const { stdout, failed } = await shellOn(host, listScript);
    const nothing = { changes: [], docker: [] };
    return [host, failed ? nothing : compare(host, parseObjects(stdout), resources)];
  };
  const found = await report.wait("looking for changes on the hosts", () => Promise.all(hosts.map(look)));
  const several = hosts.length > 1;
  const fix = async (host: SetupHost, { changes, docker, await: id }: Repair) => {
    for (const line of changes.map(sentence)) report.say(several ? hostMessage(host.name, line) : line);
    for (const args of docker) if ((await dockerOn(host, args)).failed) break;
    // Pulumi replaces a container that does not become ready.
    if (id)
      await settled(async (format) => (await dockerOn(host, ["inspect", "--format", format, id])).stdout);
  };
  const repair = () => Promise.all(found.map(([host, each]) => fix(host, each)));
  await report.wait("repairing what was changed on the hosts", repair);
}
