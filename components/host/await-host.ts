import { setTimeout as sleep } from "node:timers/promises";
import { local } from "@pulumi/command";
import * as pulumi from "@pulumi/pulumi";
import { hostMessage } from "../settings/visible-error";
import type { Connection, SshConnection } from "./connection";
import { probeCommand, sshFailure } from "./probe";

/** How long a new machine may take until its engine answers, and how long to wait between two tries; milliseconds. */
const LIMIT_MS = 15 * 60_000;
const PAUSE_MS = 5000;
/** How often the wait is reported while its reason stays the same, milliseconds. */
const REPORT_MS = 60_000;

const READY = "engine answers";
const SCRIPT = `docker version >/dev/null 2>&1 && echo '${READY}' || echo 'no engine'`;

/**
 * A connection to a machine that the same program creates, once its Docker engine answers: a new machine takes minutes to
 * start sshd, to accept the SSH key and to install Docker. Previews don't wait. After 15 minutes, or where waiting would
 * not help (another host key), the connection is given all the same: the check of the host says what is wrong.
 */
export function awaitHost(
  connection: pulumi.Input<Connection>,
  { parent, hostName }: { parent: pulumi.Resource; hostName?: string },
): pulumi.Output<Connection> {
  const report = (text: string) =>
    void pulumi.log.info(hostName ? hostMessage(hostName, text) : text, parent);
  return pulumi.output(connection).apply(async (host) => {
    if (host.kind !== "ssh" || pulumi.runtime.isDryRun()) return host;
    // A connection of its own for each try: of a shared one, the user's groups would be those of the first login.
    const command = probeCommand(host, ["-o", "ControlMaster=no", "-o", "ControlPath=none"]);
    const run = () => local.run({ command, stdin: SCRIPT, logging: "none" }, { parent });
    await untilReady(host, async () => (await run()).stdout, report);
    return host;
  });
}

/**
 * Asks a host until its engine answers, until waiting would not help, or until the time is over.
 *
 * @param ask runs the script on the host and gives its output, or what ssh said
 * @param report is told why it waits: at once, when that changes, and each minute
 */
export async function untilReady(
  host: SshConnection,
  ask: () => Promise<string>,
  report: (text: string) => void,
  { limitMs = LIMIT_MS, pauseMs = PAUSE_MS, reportMs = REPORT_MS } = {},
): Promise<void> {
  const start = performance.now();
  let reported = { reason: "", at: 0 };
  for (;;) {
    const reason = waitingFor(host, await ask());
    if (reason === undefined) return;
    const waited = performance.now() - start;
    if (waited + pauseMs > limitMs) {
      report(`Gave up waiting for ${host.address} after ${minutes(waited)}: ${reason}.`);
      return;
    }
    if (reason !== reported.reason || waited - reported.at >= reportMs) {
      report(
        `Waiting for the new machine ${host.address}: ${reason} (${minutes(waited)} of ${minutes(limitMs)}).`,
      );
      reported = { reason, at: waited };
    }
    await sleep(pauseMs);
  }
}

/** What a host is waited for; undefined where it is ready, or where waiting would not help. */
function waitingFor(host: SshConnection, stdout: string): string | undefined {
  const failure = sshFailure(host, stdout);
  if (failure) return failure.mayPass ? failure.cause : undefined;
  return stdout.includes(READY) ? undefined : "its Docker engine does not answer this user";
}

const minutes = (milliseconds: number) => `${Math.round(milliseconds / 60_000)} min`;
