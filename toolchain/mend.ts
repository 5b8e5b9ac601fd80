import { setTimeout as sleep } from "node:timers/promises";
import { compare, listScript, type Mending, parseObjects, type StateResource } from "./drift";
import { dockerOn, shellOn } from "./recover";
import type { Reporter } from "./report";
import type { SetupHost } from "./stack";
import { UserError } from "./user-error";

/** Seconds that a server gets to be ready again after a start. */
const READY_SECONDS = 300;
/** Seconds that it may be called unhealthy: the engine says so of a paused one, until the next probe. */
const UNHEALTHY_SECONDS = 60;

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
      if (mending.await) await ready(host, mending.await);
    }),
  );
  return found.flatMap(([, { replace }]) => replace.flatMap((urn) => ["--replace", urn]));
}

/** Waits until a container is healthy. One that does not get so is left to Pulumi, which makes it again. */
async function ready(host: SetupHost, id: string): Promise<void> {
  const began = Date.now();
  const seconds: Record<string, number> = {
    "running starting": READY_SECONDS,
    "running unhealthy": UNHEALTHY_SECONDS,
  };
  for (;;) {
    const format = "{{.State.Status}} {{.State.Health.Status}}";
    const { stdout } = await dockerOn(host, ["inspect", "--format", format, id]);
    if (Date.now() - began >= (seconds[stdout] ?? 0) * 1000) return;
    await sleep(1_000);
  }
}
