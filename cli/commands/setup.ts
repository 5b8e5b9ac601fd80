import {
  ensureBaseImage,
  ensureClusterPackages,
  ensureEmulationPackages,
  ensureEngine,
  type RunningEngine,
} from "../../setup/engine";
import { stackFile } from "../../setup/project";
import { createReporter, type Reporter } from "../../setup/report";
import { removeUnusedTools } from "../../setup/tools";
import { UserError } from "../../setup/user-error";
import { plainPulumi } from "../backend";
import { isOnEmulatedCluster } from "../cluster";
import { isBuildDue, needsEngineHere } from "../deploy/build-due";
import { readSettings, type Settings } from "../settings";
import { emulatedArchitecture, hostsOf, type OpenStack, openStack, type SetupHost } from "../stack";

type StackValues = Pick<Settings, "values">;

/** `npm run setup`: everything that deploying a stack needs on this machine, and nothing of the stack itself. */
export async function setup(asked?: string): Promise<void> {
  const report = createReporter();
  const { stack, backend } = await prepareAll(asked, report);
  await removeUnusedTools(report);
  const plain = plainPulumi(backend);
  if (plain) report.say(plain);
  report.say(`Ready. To deploy: npm run up -- --stack ${stack}`);
}

/** Gets the tools, and makes what the hosts of a stack need on this machine. */
export async function prepareAll(asked: string | undefined, report: Reporter): Promise<OpenStack> {
  const open = await openStack(asked, report);
  await prepare(open.stack, await readSettings(open.stack, stackFile(open.stack), open.pulumi), report);
  return open;
}

/** Makes what a stack needs on this machine; what is there is left alone. */
export async function prepare(stack: string, settings: StackValues, report: Reporter): Promise<void> {
  if (isOnEmulatedCluster(stack)) return prepareEmulatedCluster(stack, settings, report);
  const hosts = hostsOf(stack, settings);
  for (const host of hosts) {
    if (host.host === "emulated") await ensureEmulationPackages(report, emulatedArchitecture(host));
  }
  const here = hosts.filter(needsEngineHere);
  if (here.length === 0) return;
  const engine = await ensureEngine(report).catch((error: unknown) => {
    const isForImages = here.every(({ host }) => host !== "local" && host !== "emulated");
    if (!(error instanceof UserError) || !isForImages) throw error;
    const way = `pulumi config set microsandbox:builder host --stack ${stack}`;
    throw new UserError(`${error.message}\nOr have the server's image built by its host: ${way}`);
  });
  await ensureBaseImages(here, engine, report);
}

/** What makes an emulated cluster, and builds the image for its nodes: as that of a host that is this machine. */
async function prepareEmulatedCluster(
  stack: string,
  { values }: StackValues,
  report: Reporter,
): Promise<void> {
  await ensureClusterPackages(report);
  const engine = await ensureEngine(report);
  const local = hostsOf(stack, {
    values: { ...values, cluster: undefined, host: "local", hosts: undefined },
  });
  await ensureBaseImages(local, engine, report);
}

/** Gets what the images of these hosts are built on, with this machine's engine. */
async function ensureBaseImages(
  hosts: readonly SetupHost[],
  { architecture }: Pick<RunningEngine, "architecture">,
  report: Reporter,
): Promise<void> {
  const images = new Set<string>();
  for (const host of hosts) {
    // A registry that does not answer, or a limit of its pulls, is no reason to fail where nothing is to be built.
    if (await isBuildDue(host)) images.add(`${host.registryPrefix}debian:${host.debianVersion}`);
  }
  for (const image of images) await ensureBaseImage(report, { image, platform: `linux/${architecture}` });
}
