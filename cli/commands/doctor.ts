import { connectionOf } from "../../components/host/connection";
import { explainKvm, parseKvmReport } from "../../components/host/kvm-report";
import { explainPreflight, parsePreflightReport } from "../../components/host/preflight-report";
import { probeCommand, probed } from "../../components/host/probe";
import { script } from "../../components/host/scripts";
import { mistakeOfHost } from "../../components/settings/check-hosts";
import { endpointHost } from "../../components/settings/endpoint";
import { VisibleError } from "../../components/settings/errors";
import { certificateWarning, tlsMistake } from "../../components/settings/given-certificate";
import { DEFAULT_HOST } from "../../components/settings/hosts";
import { fixLines } from "../../components/settings/mistakes";
import { isGiven } from "../../components/settings/tls";
import { canInstallPackages, emulationPackages, inspectEngine, missingPackages } from "../../setup/engine";
import { exec } from "../../setup/exec";
import { createReporter } from "../../setup/report";
import { inspectTools, type ToolStatus } from "../../setup/tools";
import { UserError } from "../../setup/user-error";
import { adviceFor } from "../advice";
import { localKvm } from "../kvm";
import { chooseStack, emulatedArchitecture, hostsForSetup, openStack, type SetupHost } from "../stack";

/** One finding: `stops` means that `up` would fail, `mends` that it would put it right by itself, `warns` neither. */
interface Finding {
  verdict: "ok" | "mends" | "warns" | "stops";
  what: string;
  remedy?: string;
}

/** `npm run doctor`: what is present and what is missing. Read-only. Sets exit code 1 if `up` would fail. */
export async function doctor(asked?: string, askedHost?: string): Promise<void> {
  const report = createReporter({ write: console.log });
  const present = await inspectTools();
  // It makes nothing: without the tools it can't ask what is selected.
  const ready = present.every((tool) => tool.present);
  const open = ready ? await openStack(asked, report) : undefined;
  const stack = open?.stack ?? (await chooseStack(asked, [], report));
  const hosts = open ? await hostsForSetup(stack, open.pulumi) : [];
  const chosen = hosts.filter(({ name }) => askedHost === undefined || name === askedHost);
  if (open && chosen.length === 0) {
    const names = hosts.map(({ name }) => name).join(", ");
    throw new UserError(`Stack ${stack} has no host ${askedHost}. Its hosts: ${names}`);
  }
  const ofHosts = await Promise.all(chosen.map((host) => findingsOf(host, stack, hosts.length > 1)));
  const findings = [...tools(present), await engine(), ...(open ? ofHosts.flat() : [unread(stack)])];

  const marks = { ok: "✓", mends: "•", warns: "!", stops: "✗" };
  for (const { verdict, what, remedy } of findings) {
    report.say(`${marks[verdict]} ${what}${remedy ? `\n    ${remedy.replaceAll("\n", "\n    ")}` : ""}`);
  }
  const stopped = findings.some(({ verdict }) => verdict === "stops");
  report.say(
    stopped ? "\n`npm run up` would fail: see ✗ above." : `\nTo deploy: npm run up -- --stack ${stack}`,
  );
  process.exitCode = stopped ? 1 : 0;
}

/** Settings are asked of Pulumi. */
const unread = (stack: string): Finding => ({
  verdict: "warns",
  what: `Stack ${stack}: its hosts can be checked once the tools are installed`,
  remedy: `npm run setup -- --stack ${stack}, then run this again`,
});

function tools(present: readonly ToolStatus[]): Finding[] {
  return present.map(({ name, version, present, where, remedy }) => ({
    verdict: present ? "ok" : "mends",
    what: `${name} ${version}: ${where}`,
    remedy,
  }));
}

async function engine(): Promise<Finding> {
  const state = await inspectEngine();
  if (state.answers) return { verdict: "ok", what: `Docker engine ${state.version} (${state.architecture})` };
  const what = `Docker engine: ${state.reason}`;
  if (await canInstallPackages())
    return { verdict: "mends", what, remedy: "`npm run up` installs and starts one." };
  return { verdict: "stops", what, remedy: "Install and start Docker, then run this again." };
}

/** What is to be said of one host; its name is said with it where there are several. */
async function findingsOf(host: SetupHost, stack: string, several: boolean): Promise<Finding[]> {
  const findings =
    host.host === "emulated"
      ? [await emulation(host)]
      : [host.host === "local" ? await kvm() : await remote(host), ...(await advice(host))];
  findings.push(...certificate(host, stack));
  return findings.map((finding) =>
    several ? { ...finding, what: `${host.name}: ${finding.what}` } : finding,
  );
}

/** What is worth mending before strangers' code runs there. */
async function advice(host: SetupHost): Promise<Finding[]> {
  const found = await adviceFor(connectionOf(host));
  return found.map(({ what, remedy }) => ({ verdict: "warns", what: `Advice: ${what}`, remedy }));
}

/** What clients would say of a certificate of the user's. Its key may be encrypted: `up` looks at that. */
export function certificate(
  { name, host, tls, bindAddress = "127.0.0.1" }: Pick<SetupHost, "name" | "host" | "tls" | "bindAddress">,
  stack: string,
): Finding[] {
  if (tls === undefined || !isGiven(tls)) return [];
  const found = tlsMistake(tls, endpointHost({ host, bindAddress }), { keyIsHidden: !tls.keyFile });
  const wrong = found && (name === DEFAULT_HOST ? found : mistakeOfHost(name, found));
  if (wrong) {
    const remedy = `Expected: ${wrong.accepted}\n${fixLines(wrong, { stack })}`;
    return [{ verdict: "stops", what: `TLS: ${wrong.key} ${wrong.problem}`, remedy }];
  }
  const warning = certificateWarning(tls);
  return [
    warning ? { verdict: "warns", ...warning } : { verdict: "ok", what: "TLS: the certificate is valid" },
  ];
}

async function kvm(): Promise<Finding> {
  const { usable, reason, remedy } = await localKvm();
  return { verdict: usable ? "ok" : "stops", what: `KVM: ${reason}`, remedy: usable ? undefined : remedy };
}

/** The checks that every `up` makes on a host over SSH. */
async function remote(host: SetupHost): Promise<Finding> {
  const connection = connectionOf(host);
  const ask = async (name: "host/preflight" | "host/kvm-check") => {
    const { stdout } = await exec("sh", ["-c", probeCommand(connection)], { input: script(name) });
    return probed(connection, stdout);
  };
  try {
    const preflight = parsePreflightReport(await ask("host/preflight"));
    if (!preflight.ok) return { verdict: "stops", what: `${host.host}: ${explainPreflight(preflight)}` };
    const kvm = parseKvmReport(await ask("host/kvm-check"));
    if (!kvm.ok) return { verdict: "stops", what: `${host.host}: ${explainKvm(kvm)}` };
    return { verdict: "ok", what: `${host.host}: ${preflight.message} ${kvm.message}` };
  } catch (error) {
    if (!(error instanceof VisibleError)) throw error;
    return { verdict: "stops", what: `${host.host}: ${error.message}` };
  }
}

async function emulation(host: SetupHost): Promise<Finding> {
  const missing = await missingPackages(emulationPackages(emulatedArchitecture(host)));
  if (missing.length === 0) return { verdict: "ok", what: "Packages for the emulated host" };
  const installable = await canInstallPackages();
  return {
    verdict: installable ? "mends" : "stops",
    what: `Packages for the emulated host are missing: ${missing.join(" ")}`,
    remedy: installable ? "`npm run up` installs them." : `sudo apt-get install ${missing.join(" ")}`,
  };
}
