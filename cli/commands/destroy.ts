import { createReporter } from "../../setup/report";
import { UserError } from "../../setup/user-error";
import { openAutomation, sayWords } from "../automation";
import { askConsent } from "../consent";
import type { StateResource } from "../deploy/drift";
import { explainKept } from "../deploy/kept";
import { recoverStack, wakeEmulatedHosts } from "../deploy/recover";
import { hasStack, hostsForSetup, openStack } from "../stack";

/** `npm run destroy`: removes what `up` has made. Volumes stay unless `volumes.keep` is false. */
export async function destroy(asked?: string, yes?: boolean): Promise<void> {
  const report = createReporter();
  const { stack, pulumi, tools } = await openStack(asked, report);
  if (!(await hasStack(stack, pulumi))) {
    report.say(`Nothing to destroy: stack ${stack} was never deployed from this checkout.`);
    return;
  }
  const hosts = await hostsForSetup(stack, pulumi);
  await wakeEmulatedHosts(hosts, report);
  const resources = await recoverStack(stack, hosts, pulumi, report);
  refuseProtected(stack, resources);
  report.say(`Destroying stack ${stack}: ${named(resources)}.`);
  await askConsent({
    question: `Destroy stack ${stack}?`,
    yes,
    strict: hosts.some(({ production }) => production),
    line: `npm run destroy -- --yes --stack ${stack}`,
  });
  // An unreachable host does not keep the others from being destroyed.
  const automation = await openAutomation(stack, tools, pulumi.environment, report);
  const done = await automation.destroy({ continueOnError: true });
  sayWords("What this run did", done, report);
  if (!done.ok)
    throw new UserError(
      `pulumi destroy failed; the reason is above. Then: npm run destroy -- --stack ${stack}`,
    );
  for (const text of explainKept(hosts, resources)) report.say(`\n${text}`);
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
