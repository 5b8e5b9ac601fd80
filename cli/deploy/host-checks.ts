import { createServer } from "node:net";
import { connectionOf } from "../../components/host/connection";
import type { Recorded } from "../../components/host/deployment";
import {
  preflightScript,
  publishAddressOf,
  refuseForeign,
  usableEngine,
  volumeNames,
} from "../../components/host/engine-verdict";
import { explainKvm, parseKvmReport } from "../../components/host/kvm-report";
import { type HostNow, movedHost } from "../../components/host/moved-host";
import { probeCommand, probed } from "../../components/host/probe";
import { script } from "../../components/host/scripts";
import { kvmGroup } from "../../components/server/server-user";
import { resourceName, SERVICE } from "../../components/settings/hosts";
import type { HostSettings } from "../../components/settings/schema";
import { VisibleError } from "../../components/settings/visible-error";
import { canInstallPackages, emulationPackages, missingPackages } from "../../setup/engine";
import { exec } from "../../setup/exec";
import { projectName, stackName } from "../../setup/project";
import { emulatedArchitecture, nameError } from "../stack";
import { compare, listScript, parseObjects, type StateResource } from "./drift";
import { madeEmulatedHosts } from "./host-resources";
import { hostCommand } from "./on-host";
import { emulatedState } from "./recover";

/** One finding. `stops`: `up` would fail; `fixes`: `up` repairs it; `warns`: neither. */
export interface Finding {
  verdict: "ok" | "fixes" | "warns" | "stops";
  what: string;
  remedy?: string;
}

/** A host of a stack whose settings are right. */
export type CheckedHost = HostSettings & { name: string; baseName: string };

/** What the checks of a host look at besides the host itself. */
export interface CheckContext {
  stack: string;
  /** Resources in the stack's state: their objects on the host are not foreign. */
  resources: readonly StateResource[];
  /** Environment of pulumi: it selects the engine. */
  environment: Record<string, string>;
  /** Whether this machine's engine answers; if not, `up` may install one, and its checks are skipped. */
  engineAnswers: boolean;
}

/** The read-only checks that `up` makes on a host first. */
export async function checkHost(host: CheckedHost, context: CheckContext): Promise<Finding[]> {
  if (host.host === "emulated") {
    const tooLong = nameError(context.stack, [host]);
    if (tooLong) return [{ verdict: "stops", what: tooLong }];
    const packages = await emulationOf(host);
    if (packages.verdict !== "ok" || !(await emulatedState(host)).running) {
      const moved = movedHost(await recordedFor(host, context), hostNow(host), []);
      const isOff = madeEmulatedHosts([host], context.resources).length > 0;
      return [
        packages,
        isOff ? hostIsOff(host) : await portOf(host),
        ...(moved ? [{ verdict: "stops", what: moved } as const] : []),
      ];
    }
  }
  const isLater = host.host === "local" && !context.engineAnswers;
  const engine = isLater ? [] : [await named(host, () => engineOf(host, context))];
  const answers = engine.some(({ verdict }) => verdict === "ok");
  return [
    ...engine,
    ...(answers ? await changesOn(host, context) : []),
    ...(host.kvmCheck === "off" ? [] : [await named(host, () => kvmOf(host, context))]),
  ];
}

/** What of the deployed server is stopped, gone or ill. */
async function changesOn(host: CheckedHost, context: CheckContext): Promise<Finding[]> {
  if (context.resources.length === 0) return [];
  const [program = "", ...words] = hostCommand(host, ["sh", "-c", listScript]);
  const options = { stdin: "ignore", env: context.environment, reject: false } as const;
  const { failed, stdout, stderr } = await exec(program, words, options);
  if (failed) return [unlisted(host, String(stderr))];
  return compare(host, parseObjects(String(stdout)), context.resources).changes.map(
    ({ what, fate, advice = "" }) => {
      const next = fate === undefined ? "" : `npm run up -- --stack ${context.stack}   (${fate})`;
      const verdict = fate === undefined ? "warns" : "fixes";
      return { verdict, what: `${host.host}: ${what}`, remedy: [next, advice].filter(Boolean).join("\n") };
    },
  );
}

const unlisted = ({ host }: CheckedHost, stderr: string): Finding => ({
  verdict: "warns",
  what: `${host}: Docker can't list what is there: ${stderr.trim().split("\n").at(-1)}`,
  remedy: "What of the server is stopped or gone is not known. Run this again.",
});

async function named({ host }: CheckedHost, check: () => Promise<Finding>): Promise<Finding> {
  try {
    const { what, ...finding } = await check();
    return { ...finding, what: `${host}: ${what}` };
  } catch (error) {
    if (!(error instanceof VisibleError)) throw error;
    return { verdict: "stops", what: `${host}: ${error.message}` };
  }
}

async function engineOf(host: CheckedHost, context: CheckContext): Promise<Finding> {
  // Imported late: it loads Pulumi, which would slow down every command.
  const { requireKey } = await import("../../components/server/api-key.js");
  const { baseName, hostPort, architecture } = host;
  const names = {
    ...{ containerName: `${baseName}-server`, baseName, hostPort },
    volumes: volumeNames(baseName, host.volumes),
    publishAddress: publishAddressOf(host.host, host.bindAddress),
  };
  const report = usableEngine(await ask(host, preflightScript(names), context), architecture);
  const recorded = await recordedFor(host, context);
  const moved = movedHost(recorded, hostNow(host), report.objects);
  if (moved) throw new VisibleError(moved);
  const owner = { project: projectName(), stack: stackName(context.stack) };
  refuseForeign(report, { ...recorded, ...owner, ...names });
  if (!host.privileged) kvmGroup(report);
  if (!host.devMode && !host.generateApiKey) requireKey(host.keys, host.apiKey);
  return { verdict: "ok", what: report.message };
}

/** What the state has of a host's service. */
async function recordedFor({ name }: CheckedHost, { resources }: CheckContext): Promise<Recorded> {
  const { recordedOf } = await import("../../components/host/deployment.js");
  const known = resources.map(({ urn, type, outputs = {} }) => [urn, { type, outputs }] as const);
  return recordedOf(resourceName(SERVICE, name), Object.fromEntries(known));
}

function hostNow(host: CheckedHost): HostNow {
  if (host.host === "emulated") return { kind: "emulated" };
  return { kind: host.host === "local" ? "local" : "ssh", connection: connectionOf(host) };
}

async function kvmOf(host: CheckedHost, context: CheckContext): Promise<Finding> {
  const report = parseKvmReport(await ask(host, script("host/kvm-check"), context));
  if (!report.ok) return { verdict: "stops", what: explainKvm(report) };
  if (!report.guestsUnlikely) return { verdict: "ok", what: report.message };
  return { verdict: host.kvmCheck === "boot" ? "stops" : "warns", what: explainKvm(report) };
}

/** @throws VisibleError where the host can't be reached */
async function ask(host: CheckedHost, input: string, { environment }: CheckContext): Promise<string> {
  const options = { input, env: environment, reject: false } as const;
  if (host.host === "emulated") {
    const [program = "", ...words] = hostCommand(host, ["sh", "-s"]);
    return String((await exec(program, words, options)).stdout);
  }
  const connection = connectionOf(host);
  const { stdout } = await exec("sh", ["-c", probeCommand(connection)], options);
  return probed(connection, String(stdout));
}

async function emulationOf(host: CheckedHost): Promise<Finding> {
  const missing = await missingPackages(emulationPackages(emulatedArchitecture(host)));
  if (missing.length === 0) return { verdict: "ok", what: "Packages for the emulated host" };
  const installable = await canInstallPackages();
  return {
    verdict: installable ? "fixes" : "stops",
    what: `Packages for the emulated host are missing: ${missing.join(" ")}`,
    remedy: installable ? "`npm run up` installs them." : `sudo apt-get install ${missing.join(" ")}`,
  };
}

const hostIsOff = ({ baseName }: CheckedHost): Finding => ({
  verdict: "fixes",
  what: `The emulated host ${baseName}, on which this stack is deployed, is not running`,
  remedy: "`npm run up` starts it again.",
});

/** Whether what is emulated, and does not run, can take its port of this machine. */
export async function portOf({
  hostPort,
  bindAddress,
}: Pick<CheckedHost, "hostPort" | "bindAddress">): Promise<Finding> {
  const code = await new Promise<string | undefined>((resolve) => {
    const server = createServer();
    server.once("error", (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
    server.listen(hostPort, bindAddress, () => server.close(() => resolve(undefined)));
  });
  const what = `Port ${hostPort} of ${bindAddress}`;
  if (code === undefined) return { verdict: "ok", what: `${what} is free` };
  return {
    verdict: "stops",
    what: code === "EADDRINUSE" ? `${what} is taken` : `${what} can't be used (${code})`,
    remedy: `sudo ss -ltnp 'sport = :${hostPort}'   (or another port: pulumi config set microsandbox:hostPort PORT)`,
  };
}
