import { hostMessage } from "../../components/settings/visible-error";
import type { Reporter } from "../../setup/report";
import { UserError } from "../../setup/user-error";
import type { Approve } from "../consent";
import type { SetupHost } from "../stack";
import {
  type Change,
  compare,
  listScript,
  parseObjects,
  type Repair,
  type StateResource,
  sentence,
} from "./drift";
import { dockerOn, dockerReason, shellOn } from "./on-host";
import { settled } from "./settled";

/**
 * Detects changes made outside Pulumi on the hosts of a stack, reports them, and repairs what a refresh would not. Hosts that
 * do not answer and foreign objects are left to Pulumi.
 *
 * @param approve called before a container is touched. Default: it may
 * @throws UserError where a host is busy; where the state of a server is half a restore that could not be finished, and
 * the other hosts are repaired
 */
export async function repairDrift(
  hosts: readonly SetupHost[],
  resources: readonly StateResource[],
  report: Reporter,
  approve: Approve = async () => {},
): Promise<void> {
  const look = async (host: SetupHost): Promise<[SetupHost, Repair]> => {
    const listed = await shellOn(host, listScript);
    if (!listed.failed) return [host, compare(host, parseObjects(listed.stdout), resources)];
    // Of a host that was never deployed to, Pulumi's own check tells.
    if (resources.some(({ outputs }) => outputs?.name === `${host.baseName}-server`))
      report.say(`What is on the host ${host.name} can't be listed: ${dockerReason(listed)}`);
    return [host, { changes: [], docker: [] }];
  };
  const found = await report.wait("looking for changes on the hosts", () => Promise.all(hosts.map(look)));
  const linesOf = ({ name }: SetupHost, changes: Change[]): string[] =>
    changes.map(sentence).map((line) => (hosts.length > 1 ? hostMessage(name, line) : line));
  const busy = found.flatMap(([host, { changes, isBusy }]) => (isBusy ? linesOf(host, changes) : []));
  if (busy.length > 0) throw new UserError(`${busy.join("\n")}\nNo host was changed.`);
  const tell = (host: SetupHost, changes: Change[]): string[] => {
    const lines = linesOf(host, changes);
    for (const line of lines) report.say(line);
    return lines;
  };
  const told = found.map(([host, { changes }]) => tell(host, changes));
  const acts = found.map(([, { stop, finish, docker }]) => stop || finish || docker.length > 0);
  if (acts.some(Boolean)) await approve(told.filter((_, index) => acts[index]).flat());
  // Pulumi goes on: what it then finds is not as it should be, it makes anew.
  const attempt = async (host: SetupHost, args: readonly string[]): Promise<boolean> => {
    const done = await dockerOn(host, args);
    if (done.failed)
      report.say(`docker ${args.join(" ")} failed on the host ${host.name}: ${dockerReason(done)}`);
    return !done.failed;
  };
  const fix = async (
    host: SetupHost,
    { changes, stop, finish, docker, await: id }: Repair,
    isAgain = false,
  ) => {
    if (isAgain) tell(host, changes);
    if (stop) await attempt(host, ["stop", stop]);
    if (finish) await finishExchange(host, finish);
    for (const args of docker) if (!(await attempt(host, args))) break;
    // Pulumi replaces a container that does not become ready.
    if (!id) return;
    const state = await settled(
      async (format) => (await dockerOn(host, ["inspect", "--format", format, id])).stdout,
    );
    // It ended just after the look at it: a server that refuses its state runs for a moment, again and again.
    if (state.startsWith("restarting") && !stop && !isAgain) await fix(...(await look(host)), true);
  };
  const repair = async () => {
    const ended = await Promise.allSettled(found.map(([host, each]) => fix(host, each)));
    const failed = ended.find(({ status }) => status === "rejected");
    if (failed?.status === "rejected") throw failed.reason;
  };
  await report.wait("repairing what was changed on the hosts", repair);
}

/** The code of docker where the container itself did not start, as without its image: then nothing was exchanged. */
const NOT_STARTED = 125;

/** @throws UserError where it does not come to its end: the server would take what is there for its whole state */
async function finishExchange(host: SetupHost, finish: readonly string[]): Promise<void> {
  const { failed, exitCode, stderr } = await dockerOn(host, finish);
  if (!failed || exitCode === NOT_STARTED) return;
  throw new UserError(
    `A restore or a rollback was interrupted on the host ${host.name}, and could not be finished: ${stderr.trim()}\n` +
      "The server stays stopped, nothing is lost. When that is mended: npm run up",
  );
}
