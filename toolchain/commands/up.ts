import { randomBytes } from "node:crypto";
import { type Pulumi, pulumiWith } from "../pulumi";
import { recoverStack, wakeEmulatedHost } from "../recover";
import { createReporter, type Reporter } from "../report";
import { chooseStack, settingsForSetup } from "../stack";
import { UserError } from "../user-error";
import { prepare } from "./setup";

/** `npm run up`: from whatever state this machine and the stack are in to a running, ready service. */
export async function up(asked?: string): Promise<void> {
  const report = createReporter();
  const stack = await chooseStack(asked, report);
  report.say(`Deploying stack ${stack}: tools and images first (only what is missing), then pulumi up.`);
  const pulumi = pulumiWith(await prepare(stack, report));

  await pulumi.read(["stack", "select", "--create", stack]);
  await makeMissingKey(stack, pulumi, report);
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
  const environment: Record<string, string> = {
    ...outputs.environment,
    MSB_API_KEY:
      outputs.environment.MSB_API_KEY ?? '"$(npm run --silent pulumi -- stack output apiKey --show-secrets)"',
  };
  for (const [name, value] of Object.entries(environment)) report.say(`  export ${name}=${value}`);
}

/** The first `up` of a stack that checks keys makes one: 256 random bits, encrypted in the stack's file. */
async function makeMissingKey(stack: string, pulumi: Pulumi, report: Reporter): Promise<void> {
  const { devMode, hasKey } = settingsForSetup(stack);
  if (devMode || hasKey) return;
  report.say(`Making an API key for stack ${stack}; it is stored encrypted in Pulumi.${stack}.yaml.`);
  const key = `msb_${randomBytes(32).toString("hex")}`;
  // Through standard input: an argument would be seen in the process list.
  await pulumi.write(["config", "set", "--secret", "microsandbox:apiKey", "--stack", stack], key);
}
