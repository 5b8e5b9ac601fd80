import { stackName } from "../../setup/project";
import { createReporter } from "../../setup/report";
import { UserError } from "../../setup/user-error";
import { listScript, parseObjects } from "../deploy/drift";
import { dockerOn, emulatedState, shellOn } from "../deploy/recover";
import { hostsForSetup, openStack, type SetupHost } from "../stack";
import { prepare } from "./setup";
import { deploy } from "./up";

/**
 * `npm run import`: adopts what a stack of this name left on its hosts and is not in Pulumi's state; its labels identify it.
 * The volumes, which hold all data, are reused; container and network are created again.
 */
export async function importStack(asked?: string): Promise<void> {
  const report = createReporter();
  const open = await openStack(asked, report);
  const { stack, pulumi } = open;
  const hosts = await hostsForSetup(stack, pulumi);
  await prepare(stack, hosts, report);
  for (const host of hosts) {
    const look = () => shellOn(host, listScript);
    const { stdout, failed } = await report.wait(`looking at what is on host ${host.name}`, look);
    if (failed) throw await unreachable(stack, host);
    const ours = parseObjects(stdout).filter((each) => each.stack === stackName(stack));
    const names = [
      host.volumes?.state,
      host.volumes?.workspace,
      `${host.baseName}-state`,
      `${host.baseName}-workspace`,
    ];
    for (const { kind, name } of ours) {
      if (kind !== "volume") continue;
      const used = names.includes(name);
      report.say(
        used
          ? `Found the volume ${name}: it is kept and used.`
          : `Found the volume ${name}: it is kept but not used, since no setting names it (volumes.state, volumes.workspace).`,
      );
    }
    const servers = ours.filter(
      ({ kind, name }) => kind === "container" && name === `${host.baseName}-server`,
    );
    for (const { id, name } of servers) {
      const stop = () => dockerOn(host, ["stop", id]);
      await report.step(
        `Found the server ${name}: its sandboxes are stopped cleanly and start again afterwards`,
        stop,
      );
      await dockerOn(host, ["rm", "--force", id]);
    }
    for (const { kind, id, name } of ours)
      if (kind === "network" && name === host.baseName) await dockerOn(host, ["network", "rm", id]);
  }
  await deploy(open, true, report);
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
