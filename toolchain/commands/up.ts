import { pulumiWith } from "../pulumi";
import { recoverStack, wakeEmulatedHost } from "../recover";
import { createReporter } from "../report";
import { chooseStack } from "../stack";
import { UserError } from "../user-error";
import { prepare } from "./setup";

/** `npm run up`: from whatever state this machine and the stack are in to a running, ready service. */
export async function up(asked?: string): Promise<void> {
  const report = createReporter();
  const stack = await chooseStack(asked, report);
  report.say(`Deploying stack ${stack}: tools and images first (only what is missing), then pulumi up.`);
  const pulumi = pulumiWith(await prepare(stack, report));

  await pulumi.read(["stack", "select", "--create", stack]);
  await wakeEmulatedHost(stack, report);
  await recoverStack(stack, pulumi, report);
  const code = await pulumi.run(["up", "--yes", "--skip-preview", "--refresh", "--stack", stack]);
  if (code !== 0) {
    throw new UserError(
      `pulumi up failed (exit code ${code}); what it says above is the reason. Then: npm run up`,
    );
  }

  const outputs = JSON.parse(await pulumi.read(["stack", "output", "--json", "--stack", stack]));
  report.say(`\nReady: ${outputs.endpoint}`);
  report.say('Try it:  npm run sandbox -- run starter -- echo "Hello from sandbox"');
  report.say("SDKs and msb:");
  for (const [name, value] of Object.entries(outputs.environment)) report.say(`  export ${name}=${value}`);
}
