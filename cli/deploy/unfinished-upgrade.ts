import type { SetupHost } from "../stack";
import type { StateResource } from "./drift";
import { sayByHost } from "./host-resources";

/**
 * What to do if an upgrade passed its test but the new server did not become ready: the copy of the state is kept until one
 * does. One text for each such host.
 */
export function unfinishedUpgrades(
  stack: string,
  hosts: readonly SetupHost[],
  resources: readonly StateResource[],
): string[] {
  return sayByHost(hosts, resources, (host, own) => {
    const find = (end: string) => own.find(({ urn }) => urn.endsWith(end))?.outputs;
    const report = find("-upgrade-trial")?.stdout;
    // What comes last is told of the trial that it belongs to.
    if (!report || find("-upgrade-done")?.triggers?.[0] === report) return undefined;
    const { copy, from }: { copy: string; from: string } = JSON.parse(report);
    return copy ? explain(stack, from, from === host.version) : undefined;
  });
}

function explain(stack: string, from: string, isSameVersion: boolean): string {
  const up = `npm run up -- --stack ${stack}`;
  const back = isSameVersion
    ? `to go back: ${up}, from the previous checkout with the previous settings`
    : `to go back, to that state: npm run pulumi -- config set version ${from} --stack ${stack} && ${up}`;
  return `The upgrade from microsandbox ${from} is not finished; the state from before it is kept.\n  to continue: ${up}\n  ${back}`;
}
