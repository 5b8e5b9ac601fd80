import { createReporter, type Reporter } from "../../setup/report";
import { UserError } from "../../setup/user-error";
import { plainPulumi } from "../backend";
import { mendDrift } from "../deploy/mend";
import { readResources, recoverStack, wakeEmulatedHosts } from "../deploy/recover";
import { unfinishedUpgrades } from "../deploy/unfinished-upgrade";
import { leaveOutUnreachable } from "../deploy/unreachable";
import { readApiKey } from "../keys/stack-keys";
import { readOutputs, type ServerOutputs, type StackOutputs } from "../outputs";
import { wrongPassphrase } from "../passphrase";
import type { Pulumi } from "../pulumi";
import { saltOf } from "../pulumi";
import { hostsForSetup, type OpenStack, openStack } from "../stack";
import { prepare } from "./setup";

/** `npm run up`: from whatever state this machine and the stack are in to a running, ready service. */
export async function up(asked?: string): Promise<void> {
  const report = createReporter();
  const open = await openStack(asked, report);
  report.say(`Deploying stack ${open.stack}: what is missing first, then Pulumi.`);
  await prepare(open.stack, report);
  await deploy(open, report);
}

/** What comes after the tools: recovery, what was changed behind Pulumi's back, and `pulumi up` itself. */
export async function deploy({ stack, pulumi, backend }: OpenStack, report: Reporter): Promise<void> {
  const plain = plainPulumi(backend);
  if (plain) report.say(plain);
  await pulumi.read(["stack", "select", "--create", stack]);
  const hosts = hostsForSetup(stack);
  const names = hosts.map(({ name }) => name);
  await wakeEmulatedHosts(hosts, report);
  const resources = await recoverStack(stack, hosts, pulumi, report);
  // One that fails is no reason to leave the others as they are.
  const several = hosts.length > 1 ? ["--continue-on-error"] : [];
  // Side by side: a host that does not answer is waited for once.
  const [mended, leftOut] = await Promise.all([
    mendDrift(hosts, resources, report),
    leaveOutUnreachable(hosts, resources, report),
  ]);
  const options = ["--yes", "--skip-preview", "--refresh", ...several, ...leftOut, ...mended];
  const code = await pulumi.run(["up", ...options, "--stack", stack]);
  const outputs = await readOutputs(stack, pulumi);
  const missing = names.filter((host) => outputs.hosts && !Object.hasOwn(outputs.hosts, host));
  if (code === 0 || missing.length > 0) sayReady(outputs, await hasApiKey(stack, pulumi), report);
  if (code === 0) return;
  for (const text of unfinishedUpgrades(stack, hosts, await readResources(stack, pulumi)))
    report.say(`\n${text}`);
  const passphrase = wrongPassphrase(stack, saltOf(stack));
  if (passphrase) throw new UserError(passphrase);
  const where = missing.length > 0 ? `; not deployed: ${missing.join(", ")}` : "";
  throw new UserError(
    `pulumi up failed (exit code ${code})${where}. What it says above is the reason. Then: npm run up`,
  );
}

const hasApiKey = async (stack: string, pulumi: Pulumi) => (await readApiKey(stack, pulumi)) !== undefined;

/** @param canShowKey whether the key is in an output; else only hashes of keys are kept */
function sayReady({ hosts, ...single }: StackOutputs, canShowKey: boolean, report: Reporter): void {
  if (hosts === undefined) {
    if (single.endpoint) saySingle(single, canShowKey, report);
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
  sayEnvironment(server, canShowKey ? readKey : undefined, report);
}

function saySingle(server: ServerOutputs, canShowKey: boolean, report: Reporter): void {
  report.say(`\nReady: ${server.endpoint}`);
  report.say('Try it:  npm run sandbox -- run starter -- echo "Hello from sandbox"');
  report.say("SDKs and msb:");
  sayEnvironment(server, canShowKey ? "stack output apiKey --show-secrets" : undefined, report);
}

/** @param readKey arguments of pulumi that print the key; undefined where only hashes of keys are kept */
function sayEnvironment({ environment }: ServerOutputs, readKey: string | undefined, report: Reporter): void {
  const stored =
    readKey === undefined
      ? "KEY  # one that npm run keys has shown"
      : `"$(npm run --silent pulumi -- ${readKey})"`;
  const key = environment?.MSB_API_KEY ?? stored;
  for (const [name, value] of Object.entries({ ...environment, MSB_API_KEY: key }))
    report.say(`  export ${name}=${value}`);
}
