import { compare, listScript, type Mending, parseObjects, type StateResource } from "./drift";
import { dockerOn, shellOn } from "./recover";
import type { Reporter } from "./report";
import { settled } from "./settled";
import type { SetupHost } from "./stack";
import { UserError } from "./user-error";

/**
 * Looks for what was changed behind Pulumi's back on the hosts of a stack, says what it finds, and mends what a
 * refresh would not. A host that does not answer is left to Pulumi.
 *
 * @returns options for pulumi
 * @throws UserError where the user has to decide; nothing was changed then
 */
export async function mendDrift(
  stack: string,
  hosts: readonly SetupHost[],
  resources: readonly StateResource[],
  report: Reporter,
): Promise<string[]> {
  const found = await Promise.all(
    hosts.map(async (host): Promise<[SetupHost, Mending]> => {
      const { stdout, failed } = await shellOn(host, listScript);
      const nothing = { say: [], docker: [], replace: [] };
      return [host, failed ? nothing : compare(stack, host, parseObjects(stdout), resources)];
    }),
  );
  const where = (host: SetupHost) => (hosts.length > 1 ? `Host ${host.name}: ` : "");
  const refused = found.flatMap(([host, { refuse }]) => (refuse ? [`${where(host)}${refuse}`] : []));
  if (refused.length > 0) throw new UserError(refused.join("\n"));
  await Promise.all(
    found.map(async ([host, mending]) => {
      for (const line of mending.say) report.say(`${where(host)}${line}`);
      for (const args of mending.docker) await dockerOn(host, args);
      const { await: id } = mending;
      // One that does not get ready is left to Pulumi, which makes it again.
      if (id)
        await settled(async (format) => (await dockerOn(host, ["inspect", "--format", format, id])).stdout);
    }),
  );
  return found.flatMap(([, { replace }]) => replace.flatMap((urn) => ["--replace", urn]));
}
