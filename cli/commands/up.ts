import { stackFile } from "../../setup/project";
import { createReporter, type Reporter } from "../../setup/report";
import { UserError } from "../../setup/user-error";
import { type Ended, openAutomation, sayWords } from "../automation";
import { plainPulumi } from "../backend";
import { askConsent, Repairs } from "../consent";
import { readResources, recoverStack } from "../deploy/recover";
import { repairDrift } from "../deploy/repair-drift";
import { unfinishedUpgrades } from "../deploy/unfinished-upgrade";
import { leaveOutUnreachable } from "../deploy/unreachable";
import { type KeyShown, readOutputs, type ServerOutputs, type StackOutputs, showsKey } from "../outputs";
import { readSettings } from "../settings";
import { hostsOf, isInProduction, makeStack, nameError, type OpenStack, openStack } from "../stack";
import { prepare } from "./setup";

/** What may be said to `npm run up`. */
interface UpOptions {
  stack?: string;
  /** Not to be asked. */
  yes?: boolean;
  /** Only to tell what it would do. */
  preview?: boolean;
}

/** `npm run up`: from whatever state this machine and the stack are in to a running, ready service. */
export async function up({ stack: asked, yes, preview }: UpOptions): Promise<void> {
  const report = createReporter();
  const open = await openStack(asked, report);
  if (preview) return tellPlan(open, report);
  report.say(`Deploying stack ${open.stack}: installing what is missing, then running Pulumi.`);
  await deploy(open, yes, report);
}

/** `npm run up -- --preview`: what an up would do, and what that means. Changes nothing. */
async function tellPlan({ stack, pulumi, tools }: OpenStack, report: Reporter): Promise<void> {
  const automation = await openAutomation(stack, tools, pulumi.environment, report);
  const planned = await automation.preview({}, true);
  sayWords("What an up would do", planned, report);
  refuseUnfinishedPlan(planned);
}

/** @throws UserError where a preview has not come to its end */
export function refuseUnfinishedPlan({ ok, interrupted }: Pick<Ended, "ok" | "interrupted">): void {
  if (interrupted) throw new UserError("The preview was interrupted. No host was changed.");
  if (!ok) throw new UserError("The preview failed; the reason is above.");
}

/** What comes after the tools: the machine, recovery, what was changed behind Pulumi's back, and `pulumi up` itself. */
export async function deploy(
  { stack, pulumi, backend, tools }: OpenStack,
  yes: boolean | undefined,
  report: Reporter,
): Promise<void> {
  const plain = plainPulumi(backend);
  if (plain) report.say(plain);
  await makeStack(stack, pulumi, report, { selects: true });
  const settings = await readSettings(stack, stackFile(stack), pulumi);
  const hosts = hostsOf(stack, settings);
  const tooLong = nameError(stack, hosts);
  if (tooLong) throw new UserError(tooLong);
  await prepare(stack, settings, report);
  const names = hosts.map(({ name }) => name);
  const isProduction = isInProduction(settings, hosts);
  const line = `npm run up -- --yes --stack ${stack}`;
  const question = `Repair the production stack ${stack}, before its changes are planned?`;
  const repairs = new Repairs(isProduction ? { question, yes, line } : undefined);
  const resources = await recoverStack(stack, hosts, pulumi, report, repairs.approve);
  // Side by side: a host that does not answer is waited for once.
  const [exclude] = await Promise.all([
    leaveOutUnreachable(hosts, resources, report),
    repairDrift(hosts, resources, report, repairs.approve),
  ]);
  // One that fails is no reason to leave the others as they are.
  const options = { exclude, continueOnError: hosts.length > 1 };
  const automation = await openAutomation(stack, tools, pulumi.environment, report);
  if (isProduction) {
    const look = () => automation.preview(options, false);
    await askAboutPlan(stack, await report.step("Preview the changes", look), yes, report, repairs.left);
  }
  const done = await automation.up(options);
  if (!isProduction) sayWords("What this run did", done, report);
  const outputs = await readOutputs(stack, pulumi);
  const missing = names.filter((host) => outputs.hosts && !Object.hasOwn(outputs.hosts, host));
  const isDone = done.ok && !done.interrupted;
  if (isDone || missing.length > 0) sayReady(outputs, await showsKey(stack, pulumi), report);
  if (isDone) return;
  for (const text of unfinishedUpgrades(stack, hosts, await readResources(stack, pulumi)))
    report.say(`\n${text}`);
  if (done.interrupted)
    throw new UserError(`The up was interrupted. To continue: npm run up -- --stack ${stack}`);
  const where = missing.length > 0 ? `; not deployed: ${missing.join(", ")}` : "";
  throw new UserError(
    `pulumi up failed${where}. The reason is in its output above. Then: npm run up -- --stack ${stack}`,
  );
}

/**
 * A stack in production changes only when somebody has seen how.
 *
 * @param left what a refusal leaves. Default: nothing was changed
 * @throws UserError where the answer is no
 */
export async function askAboutPlan(
  stack: string,
  planned: Ended,
  yes: boolean | undefined,
  report: Reporter,
  left?: string,
): Promise<void> {
  if (planned.interrupted) refuseUnfinishedPlan(planned);
  if (planned.ok && planned.changes === 0) return;
  const count = planned.ok ? `${planned.changes} resources change` : "the preview failed, see above";
  sayWords("What this up will do", planned, report);
  await askConsent({
    question: `Deploy to the production stack ${stack} (${count})?`,
    yes,
    strict: true,
    line: `npm run up -- --yes --stack ${stack}`,
    left,
  });
}

/** @param shown whether the key of a host is in an output; else only hashes of keys are kept */
function sayReady({ hosts, ...single }: StackOutputs, shown: KeyShown, report: Reporter): void {
  if (hosts === undefined) {
    if (single.endpoint) saySingle(single, shown(), report);
    return;
  }
  const ready = Object.entries(hosts);
  report.say("");
  for (const [host, server] of ready) report.say(`Ready: ${server.endpoint} (host ${host})`);
  const [first] = ready;
  if (first === undefined) return;
  const [host, server] = first;
  report.say(`Try it:  npm run sandbox -- --host ${host} run starter -- echo "Hello from sandbox"`);
  report.say(`SDKs and msb, for the host ${host}:`);
  const readKey = `stack output apiKeys --json --show-secrets | jq -r '.["${host}"]'`;
  sayEnvironment(server, shown(host) ? readKey : undefined, report);
}

function saySingle(single: ServerOutputs, canShowKey: boolean, report: Reporter): void {
  report.say(`\nReady: ${single.endpoint}`);
  if (single.server) report.say('Try it:  npm run sandbox -- run starter -- echo "Hello from sandbox"');
  report.say("SDKs and msb:");
  sayEnvironment(single, canShowKey ? "stack output apiKey --show-secrets" : undefined, report);
}

/** @param readKey arguments of pulumi that print the key; undefined where only hashes of keys are kept */
function sayEnvironment({ environment }: ServerOutputs, readKey: string | undefined, report: Reporter): void {
  const stored =
    readKey === undefined
      ? "KEY  # as `npm run keys` showed it"
      : `"$(npm run --silent pulumi -- ${readKey})"`;
  const key = environment?.MSB_API_KEY ?? stored;
  for (const [name, value] of Object.entries({ ...environment, MSB_API_KEY: key }))
    report.say(`  export ${name}=${value}`);
}
