import { hostMessage } from "../../components/settings/errors";
import type { Reporter } from "../../setup/report";
import { UserError } from "../../setup/user-error";
import type { SetupHost } from "../stack";
import { compare, listScript, type Mending, parseObjects, type StateResource } from "./drift";
import { resourcesOf } from "./host-resources";
import { dockerOn, shellOn } from "./recover";
import { settled } from "./settled";

/** What comes of a look at the hosts. */
interface Mended {
  /** Options for pulumi. */
  options: string[];
  /** Hosts where the user has to decide, and why. Nothing was changed there, and nothing may be. */
  refused: Record<string, string>;
}

/**
 * Looks for what was changed behind Pulumi's back on the hosts of a stack, says what it finds, and mends what a
 * refresh would not. A host that does not answer is left to Pulumi.
 *
 * @throws UserError where nothing is left to do before the user has decided
 */
export async function mendDrift(
  stack: string,
  hosts: readonly SetupHost[],
  resources: readonly StateResource[],
  report: Reporter,
): Promise<Mended> {
  const found = await Promise.all(
    hosts.map(async (host): Promise<[SetupHost, Mending]> => {
      const { stdout, failed } = await shellOn(host, listScript);
      const nothing = { say: [], docker: [], replace: [] };
      return [host, failed ? nothing : compare(stack, host, parseObjects(stdout), resources)];
    }),
  );
  const several = hosts.length > 1;
  const refused = Object.fromEntries(
    found.flatMap(([{ name }, { refuse }]) => (refuse ? [[name, refuse]] : [])),
  );
  if (Object.keys(refused).length === hosts.length) {
    const reasons = Object.entries(refused).map(([name, reason]) =>
      several ? hostMessage(name, reason) : reason,
    );
    throw new UserError(reasons.join("\n"));
  }
  const mend = async (host: SetupHost, { say, docker, await: id }: Mending) => {
    for (const line of say) report.say(several ? hostMessage(host.name, line) : line);
    for (const args of docker) await dockerOn(host, args);
    // One that does not get ready is left to Pulumi, which makes it again.
    if (id)
      await settled(async (format) => (await dockerOn(host, ["inspect", "--format", format, id])).stdout);
  };
  const accepted = found.filter(([, { refuse }]) => refuse === undefined);
  await Promise.all(accepted.map(([host, mending]) => mend(host, mending)));
  const leftOut = hosts
    .filter(({ name }) => Object.hasOwn(refused, name))
    .flatMap((host) => resourcesOf(host, resources));
  return {
    options: [
      ...accepted.flatMap(([, { replace }]) => replace.flatMap((urn) => ["--replace", urn])),
      ...leftOut.flatMap((urn) => ["--exclude", urn]),
    ],
    refused,
  };
}
