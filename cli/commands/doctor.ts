import { connectionOf } from "../../components/host/connection";
import { checkSettings } from "../../components/settings/checks";
import { isCluster } from "../../components/settings/cluster";
import { NAMESPACE } from "../../components/settings/schema";
import { fixLines, type SettingError } from "../../components/settings/setting-errors";
import { canInstallPackages, inspectEngine } from "../../setup/engine";
import { stackFile } from "../../setup/project";
import { createReporter, type Reporter } from "../../setup/report";
import { inspectTools, type ToolStatus } from "../../setup/tools";
import { UserError } from "../../setup/user-error";
import { adviceFor } from "../advice";
import { readOnly } from "../backend";
import { type CheckContext, type CheckedHost, checkHost, type Finding } from "../deploy/host-checks";
import { readResources } from "../deploy/recover";
import { certificateFindings } from "../deploy/served-certificate";
import { readSettings } from "../settings";
import { chooseStack, hasStack, hostsOf, type OpenStack, openStack } from "../stack";

/** `npm run doctor`: what is present and what is missing. Read-only. Sets exit code 1 if `up` would fail. */
export async function doctor(asked?: string, askedHost?: string): Promise<void> {
  // The findings are the output; what is waited for is not.
  const report = { ...createReporter({ write: console.log }), wait: createReporter().wait };
  const present = await inspectTools();
  await readOnly(asked, () => examine(present, asked, askedHost, report));
}

async function examine(
  present: readonly ToolStatus[],
  asked: string | undefined,
  askedHost: string | undefined,
  report: Reporter,
): Promise<void> {
  // Without the tools, Pulumi can't be asked for the selected stack.
  const ready = present.every((tool) => tool.present);
  const open = ready ? await openStack(asked, report) : undefined;
  const stack = open?.stack ?? (await chooseStack(asked, [], report));
  const machine = await inspectEngine();
  const settings = open ? await findingsOfStack(open, askedHost, machine.answers, report) : [unread(stack)];
  const findings = [...tools(present), await engine(machine), ...settings];

  const marks = { ok: "✓", fixes: "•", warns: "!", stops: "✗" };
  for (const { verdict, what, remedy } of findings) {
    report.say(`${marks[verdict]} ${what}${remedy ? `\n    ${remedy.replaceAll("\n", "\n    ")}` : ""}`);
  }
  const stopped = findings.some(({ verdict }) => verdict === "stops");
  report.say(
    stopped ? "\n`npm run up` would fail: see ✗ above." : `\nTo deploy: npm run up -- --stack ${stack}`,
  );
  process.exitCode = stopped ? 1 : 0;
}

/** The settings of a stack, and its hosts where those are right. @throws UserError where there is no such host */
async function findingsOfStack(
  { stack, pulumi }: OpenStack,
  askedHost: string | undefined,
  engineAnswers: boolean,
  report: Reporter,
): Promise<Finding[]> {
  const settings = await readSettings(stack, stackFile(stack), pulumi);
  const { settings: all, hosts: checked, errors } = checkSettings(settings.values, settings.secret);
  if (checked === undefined) return wrongSettings(stack, errors);
  const resources = (await hasStack(stack, pulumi)) ? await readResources(stack, pulumi) : [];
  if (isCluster(all)) {
    // Loaded for a cluster alone: it needs Pulumi.
    const { checkCluster } = require("../deploy/cluster-checks") as typeof import("../deploy/cluster-checks");
    const look = () => checkCluster(all, { stack, resources, environment: pulumi.environment });
    return report.wait("looking at the cluster", look);
  }
  const hosts = hostsOf(stack, settings).flatMap((host) => {
    const all = checked[host.name];
    return all ? [{ ...all, name: host.name, baseName: host.baseName }] : [];
  });
  const chosen = hosts.filter(({ name }) => askedHost === undefined || name === askedHost);
  if (chosen.length === 0) {
    const names = hosts.map(({ name }) => name).join(", ");
    throw new UserError(`Stack ${stack} has no host ${askedHost}. Its hosts: ${names}`);
  }
  const context = { stack, resources, environment: pulumi.environment, engineAnswers };
  const look = () => Promise.all(chosen.map((host) => findingsOf(host, context, hosts.length > 1)));
  const found = await report.wait(
    `looking at ${chosen.map(({ name }) => `the host ${name}`).join(", ")}`,
    look,
  );
  return found.flat();
}

/** Each error, as `up` tells it. The hosts are looked at once there is none. */
export const wrongSettings = (stack: string, errors: readonly SettingError[]): Finding[] =>
  errors.map((error) => ({
    verdict: "stops",
    what: `${NAMESPACE}:${error.key} ${error.problem}`,
    remedy: `Expected: ${error.accepted}\n${fixLines(error, { stack })}`,
  }));

/** Settings are read through Pulumi, so the tools are needed. */
const unread = (stack: string): Finding => ({
  verdict: "warns",
  what: `Stack ${stack}: its hosts can be checked once the tools are installed`,
  remedy: `npm run setup -- --stack ${stack}, then run this again`,
});

function tools(present: readonly ToolStatus[]): Finding[] {
  return present.map(({ name, version, present, where, remedy }) => ({
    verdict: present ? "ok" : "fixes",
    what: `${name} ${version}: ${where}`,
    remedy,
  }));
}

async function engine(state: Awaited<ReturnType<typeof inspectEngine>>): Promise<Finding> {
  if (state.answers) return { verdict: "ok", what: `Docker engine ${state.version} (${state.architecture})` };
  const what = `Docker engine: ${state.reason}`;
  if (await canInstallPackages())
    return { verdict: "fixes", what, remedy: "`npm run up` installs and starts one." };
  return { verdict: "stops", what, remedy: "Install and start Docker, then run this again." };
}

/** Findings of one host, prefixed with its name if there are several. */
async function findingsOf(host: CheckedHost, context: CheckContext, several: boolean): Promise<Finding[]> {
  const findings = await checkHost(host, context);
  if (host.host !== "emulated") findings.push(...(await advice(host)));
  findings.push(...(await certificateFindings(host, context)));
  return findings.map((finding) =>
    several ? { ...finding, what: `${host.name}: ${finding.what}` } : finding,
  );
}

/** Advice for hardening a host before it runs other people's code. */
async function advice(host: CheckedHost): Promise<Finding[]> {
  const found = await adviceFor(connectionOf(host));
  return found.map(({ what, remedy }) => ({ verdict: "warns", what: `Advice: ${what}`, remedy }));
}
