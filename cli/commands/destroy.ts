import { createReporter } from "../../setup/report";
import { ensureTools } from "../../setup/tools";
import { UserError } from "../../setup/user-error";
import type { StateResource } from "../deploy/drift";
import { explainKept } from "../deploy/kept";
import { recoverStack, wakeEmulatedHosts } from "../deploy/recover";
import { pulumiWith } from "../pulumi";
import { currentStack, hostsForSetup } from "../stack";

/** `npm run destroy`: removes what `up` has made. Volumes stay unless `volumes.keep` is false. */
export async function destroy(asked?: string): Promise<void> {
  const report = createReporter();
  const pulumi = pulumiWith(await ensureTools(report));
  const stack = await currentStack(asked, pulumi, report);
  const known: { name: string }[] = JSON.parse(await pulumi.read(["stack", "ls", "--json"]));
  if (!known.some(({ name }) => name === stack)) {
    report.say(`Nothing to destroy: stack ${stack} was never deployed from this checkout.`);
    return;
  }
  report.say(`Destroying stack ${stack}.`);
  const hosts = hostsForSetup(stack);
  await wakeEmulatedHosts(hosts, report);
  const resources = await recoverStack(stack, hosts, pulumi, report);
  refuseProtected(stack, resources);
  // Of several hosts, one that can't be reached is no reason to leave the others as they are.
  const code = await pulumi.run([
    "destroy",
    "--yes",
    "--skip-preview",
    "--continue-on-error",
    "--stack",
    stack,
  ]);
  if (code !== 0) throw new UserError(`pulumi destroy failed (exit code ${code}); the reason is above.`);
  for (const text of explainKept(hosts, resources)) report.say(`\n${text}`);
}

/** Pulumi would remove the server before it comes to the volumes that it must not. @throws UserError */
export function refuseProtected(stack: string, resources: readonly StateResource[]): void {
  const names = resources.filter(({ protect }) => protect).map(({ outputs, urn }) => outputs?.name ?? urn);
  if (names.length === 0) return;
  throw new UserError(
    `Stack ${stack} is protected (volumes.protect): ${names.join(", ")} must stay. Nothing was removed.\n` +
      `To allow it: npm run pulumi -- config set --path volumes.protect false --stack ${stack} && ` +
      `npm run up -- --stack ${stack}`,
  );
}
