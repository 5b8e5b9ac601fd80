import { stackFile } from "../../setup/project";
import { createReporter } from "../../setup/report";
import { UserError } from "../../setup/user-error";
import { openAutomation, sayWords } from "../automation";
import { askConsent, Repairs } from "../consent";
import type { StateResource } from "../deploy/drift";
import { isEmulatedCluster, isMachine } from "../deploy/host-resources";
import { explainKept } from "../deploy/kept";
import { readResources, recoverStack } from "../deploy/recover";
import { readSettings } from "../settings";
import { hasStack, hostsOf, isInProduction, openStack } from "../stack";

/** `npm run destroy`: removes what `up` has made. Volumes stay unless `volumes.keep` is false. */
export async function destroy(asked?: string, yes?: boolean): Promise<void> {
  const report = createReporter();
  const { stack, pulumi, tools } = await openStack(asked, report);
  if (!(await hasStack(stack, pulumi))) {
    report.say(`Nothing to destroy: stack ${stack} was never deployed from this checkout.`);
    return;
  }
  const settings = await readSettings(stack, stackFile(stack), pulumi);
  const hosts = hostsOf(stack, settings);
  const isProduction = isInProduction(settings, hosts);
  const line = `npm run destroy -- --yes --stack ${stack}`;
  const question = `Repair the production stack ${stack}, before it is destroyed?`;
  const repairs = new Repairs(isProduction ? { question, yes, line } : undefined);
  const resources = await recoverStack(stack, hosts, pulumi, report, repairs.approve);
  if (resources.length === 0) {
    report.say(`Nothing to destroy: stack ${stack} has no resources.`);
    return;
  }
  refuseProtected(stack, resources);
  report.say(`Destroying stack ${stack}: ${named(resources)}.`);
  await askConsent({
    question: `Destroy stack ${stack}?`,
    yes,
    strict: isProduction,
    line,
    left: repairs.left,
  });
  // An unreachable host does not keep the others from being destroyed.
  const automation = await openAutomation(stack, tools, pulumi.environment, report);
  const done = await automation.destroy({ continueOnError: true });
  if (done.interrupted) refuseUnfinished(stack, await readResources(stack, pulumi));
  sayWords("What this run did", done, report);
  if (!done.ok)
    throw new UserError(
      `pulumi destroy failed; the reason is above. Then: npm run destroy -- --stack ${stack}`,
    );
  for (const text of explainKept(hosts, resources)) report.say(`\n${text}`);
}

/**
 * Tells what an interrupted destroy has left. No line that removes data: a stack that is partly there still needs it.
 *
 * @param left what the state has of the stack now
 * @throws UserError where that is anything
 */
export function refuseUnfinished(stack: string, left: readonly StateResource[]): void {
  const count = left.filter(({ type }) => type !== "pulumi:pulumi:Stack").length;
  if (count === 0) return;
  throw new UserError(
    `The destroy of stack ${stack} was interrupted: ${count} of its resources are left (${named(left)}).\n` +
      `To go on: npm run destroy -- --stack ${stack}\nTo deploy it again instead: npm run up -- --stack ${stack}`,
  );
}

/** What a destroy removes and what it keeps, by the names on the hosts. */
export function named(resources: readonly StateResource[]): string {
  const names = (kind: string, keep?: boolean) =>
    resources
      .filter(({ type }) => type === `docker:index/${kind}`)
      .filter(({ retainOnDelete = false }) => keep === undefined || retainOnDelete === keep)
      .flatMap(({ outputs }) => outputs?.name ?? []);
  const list = (what: string, found: string[], fate = "") =>
    found.length > 0 ? [`${what}${found.length > 1 ? "s" : ""} ${found.join(", ")}${fate}`] : [];
  const parts = [
    ...list("container", names("container:Container")),
    ...list("network", names("network:Network")),
    ...list("volume", names("volume:Volume", false), " with ALL ITS DATA"),
    ...list("volume", names("volume:Volume", true), " (kept)"),
    ...(resources.some(isMachine) ? ["the emulated host"] : []),
    ...(resources.some(isEmulatedCluster) ? ["the emulated cluster with ALL ITS DATA"] : []),
  ];
  return parts.join("; ") || "nothing on a host";
}

/** Pulumi would refuse this too, with the name of a resource that says nothing to users. @throws UserError */
export function refuseProtected(stack: string, resources: readonly StateResource[]): void {
  const kept = resources.filter(({ protect }) => protect);
  if (kept.length === 0) return;
  const volumes = kept.flatMap(({ outputs }) => outputs?.name ?? []);
  const names = volumes.length > 0 ? volumes : kept.map(({ urn }) => urn);
  throw new UserError(
    `Stack ${stack} is protected (volumes.protect): ${names.join(", ")} must be kept. Nothing was removed.\n` +
      `To allow it: npm run pulumi -- config set --path volumes.protect false --stack ${stack} && ` +
      `npm run up -- --stack ${stack}`,
  );
}
