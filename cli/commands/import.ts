import { stackFile, stackName } from "../../setup/project";
import { createReporter, type Reporter } from "../../setup/report";
import { UserError } from "../../setup/user-error";
import { onCluster } from "../cluster";
import { askConsent } from "../consent";
import { type HostObject, listScript, parseObjects, type StateResource } from "../deploy/drift";
import { dockerOn, shellOn } from "../deploy/on-host";
import { emulatedState, readResources } from "../deploy/recover";
import { readSettings, type Settings } from "../settings";
import { hasStack, hostsOf, openStack, type SetupHost } from "../stack";
import { prepare } from "./setup";
import { deploy } from "./up";

/**
 * `npm run import`: adopts what a stack of this name left on its hosts and is not in Pulumi's state; its labels identify it.
 * The volumes, which hold all data, are reused; container and network are created again.
 */
export async function importStack({ stack: asked, yes }: { stack?: string; yes?: boolean }): Promise<void> {
  const report = createReporter();
  const open = await openStack(asked, report);
  const { stack, pulumi } = open;
  const settings = await readSettings(stack, stackFile(stack), pulumi);
  const hosts = hostsForImport(stack, settings);
  await prepare(stack, settings, report);
  const resources = (await hasStack(stack, pulumi)) ? await readResources(stack, pulumi) : [];
  if (await adopt(stack, hosts, resources, yes, report)) await deploy(open, yes, report);
}

/** The hosts of a stack. @throws UserError where it is on a cluster, which has none */
export function hostsForImport(stack: string, settings: Pick<Settings, "values">): SetupHost[] {
  const hosts = hostsOf(stack, settings);
  if (hosts.length === 0) throw onCluster(stack);
  return hosts;
}

/** What is found on a host: nothing of it is in Pulumi's state but, where `isKnown`, its server. */
interface Found {
  host: SetupHost;
  objects: HostObject[];
  isKnown: boolean;
}

/**
 * Makes room for a deployment that takes over what is on the hosts: its servers and networks are removed, its volumes kept.
 *
 * @param resources what Pulumi's state knows: a server that is in it is left alone
 * @returns false where the servers of all hosts are in the state, so that there is nothing to do
 * @throws UserError where a host does not answer, or the user does not agree; nothing was changed then
 */
export async function adopt(
  stack: string,
  hosts: readonly SetupHost[],
  resources: readonly StateResource[],
  yes: boolean | undefined,
  report: Reporter,
): Promise<boolean> {
  const found: Found[] = [];
  for (const host of hosts) found.push(await lookAt(stack, host, resources, report));
  if (found.every(({ isKnown }) => isKnown)) {
    report.say(
      `Nothing to import: stack ${stack} is deployed, and Pulumi's state has it. ` +
        `To deploy changes: npm run up -- --stack ${stack}`,
    );
    return false;
  }
  const lost = found.filter(({ isKnown }) => !isKnown);
  for (const each of lost) tellVolumes(each, report);
  const servers = lost.flatMap((each) => named(each, "container", `${each.host.baseName}-server`));
  const networks = lost.flatMap((each) => named(each, "network", each.host.baseName));
  for (const { name } of servers)
    report.say(
      `Found the server ${name}: it is stopped and created again, with its sandboxes. ` +
        "Another checkout that deploys it can't do so any more.",
    );
  if (servers.length > 0)
    await askConsent({
      question: `Import stack ${stack} (${servers.map(({ name }) => name).join(", ")})?`,
      yes,
      strict: hosts.some(({ production }) => production),
      line: `npm run import -- --yes --stack ${stack}`,
    });
  for (const { host, id, name } of servers) {
    const stop = () => docker(host, ["stop", id], stack);
    await report.step(`Stop the server ${name} and its sandboxes`, stop);
    await docker(host, ["rm", id], stack);
  }
  for (const { host, id } of networks) await docker(host, ["network", "rm", id], stack);
  return true;
}

async function lookAt(
  stack: string,
  host: SetupHost,
  resources: readonly StateResource[],
  report: Reporter,
): Promise<Found> {
  const look = () => shellOn(host, listScript);
  const { stdout, failed } = await report.wait(`looking at what is on host ${host.name}`, look);
  if (failed) throw await unreachable(stack, host);
  const objects = parseObjects(stdout).filter((each) => each.stack === stackName(stack));
  const inState = ({ id }: HostObject) => resources.some((each) => each.id === id);
  const isKnown = objects.some(
    (each) => each.kind === "container" && each.name === `${host.baseName}-server` && inState(each),
  );
  return { host, objects: objects.filter((each) => !inState(each)), isKnown };
}

function tellVolumes({ host, objects }: Found, report: Reporter): void {
  const used = [
    host.volumes?.state,
    host.volumes?.workspace,
    `${host.baseName}-state`,
    `${host.baseName}-workspace`,
  ];
  for (const { kind, name } of objects) {
    if (kind !== "volume") continue;
    report.say(
      used.includes(name)
        ? `Found the volume ${name}: it is kept and used.`
        : `Found the volume ${name}: it is kept but not used, since no setting names it (volumes.state, volumes.workspace).`,
    );
  }
}

const named = ({ host, objects }: Found, kind: HostObject["kind"], name: string) =>
  objects.filter((each) => each.kind === kind && each.name === name).map((each) => ({ ...each, host }));

async function docker(host: SetupHost, args: string[], stack: string): Promise<void> {
  if (!(await dockerOn(host, args)).failed) return;
  throw new UserError(
    `docker ${args.join(" ")} failed on host ${host.name}.\nTo try again: npm run import -- --stack ${stack}`,
  );
}

/** Why nothing can be looked for on a host, and what to type. */
export async function unreachable(stack: string, host: SetupHost): Promise<UserError> {
  const again = `npm run import -- --stack ${stack}`;
  const { name, baseName } = host;
  if (host.host === "emulated") {
    const { running, generation } = await emulatedState(host);
    if (generation === 0)
      return new UserError(
        `There is nothing to import: the emulated host ${baseName} does not exist. To deploy: npm run up -- --stack ${stack}`,
      );
    if (!running)
      return new UserError(
        `The emulated host ${baseName} is not running. Nothing was changed.\n` +
          `To start it: bash emulated-host/emulated-host.sh resume ${baseName} && ${again}`,
      );
  }
  return new UserError(
    `The Docker engine of host ${name} does not answer. Nothing was changed.\n` +
      `To see why: npm run doctor -- --stack ${stack}\nThen: ${again}`,
  );
}
