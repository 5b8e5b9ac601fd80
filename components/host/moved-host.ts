import { urlHost } from "../settings/endpoint";
import type { Connection } from "./connection";
import type { Recorded } from "./deployment";
import type { HostObject } from "./preflight-report";

/** The host of this run. */
export interface HostNow {
  kind: "local" | "ssh" | "emulated";
  /** How to reach it; undefined where that is not known yet: an emulated host may still have to be made. */
  connection?: Connection;
  /** Whether the same program creates the machine: it may have replaced the one of before. */
  isNew?: boolean;
}

type Before = Pick<Recorded, "connection" | "isEmulated" | "objects">;

/**
 * Why a stack that is deployed on one host can't be on this one: its objects would stay on the old host, where no run
 * reaches them any more. Undefined where it is the same host, by its address or by what is on it.
 *
 * @param found objects on the host of this run that have names of the stack's
 */
export function movedHost(
  before: Before,
  now: HostNow,
  found: readonly Pick<HostObject, "name">[],
): string | undefined {
  if (before.objects.length === 0 || !before.connection) return undefined;
  const [old, next] = [settingOf(before), settingOf({ ...now, isEmulated: now.kind === "emulated" })];
  if (old.target === next.target || found.some(({ name }) => before.objects.includes(name))) return undefined;
  if (now.isNew)
    return (
      `The stack is deployed on the host ${old.host}, and this program has made the host ${next.host} now, where nothing of ` +
      "it is. Nothing was changed on either.\n" +
      "  where the old machine is gone, with its data: have the state forget what was on it, then: pulumi up\n" +
      "    to list it:   pulumi stack --show-urns | grep -o 'urn:.*docker:index/\\(network\\|volume\\):.*'\n" +
      "    for each:     pulumi state delete --yes --force --target-dependents 'URN'\n" +
      "  where it still runs: let host be its address again (docs/hosts.md, Move to another host)"
    );
  return (
    `The stack is deployed on the host ${old.host}, and host is ${next.host} now, where nothing of it is. The server there ` +
    "would run on, and no command would reach it. Neither host was changed.\n" +
    `  to leave it there:      pulumi config set microsandbox:host ${old.host}\n` +
    "  to move it:             set host as it was, then: pulumi destroy; then set the new one, and: pulumi up\n" +
    "  to have a second one:   another stack (pulumi stack init NAME), or one more entry in hosts\n" +
    "  where it is gone:       docs/hosts.md, Move to another host"
  );
}

/** The setting `host`, and what tells one machine from another: neither the user nor a key file does. */
function settingOf({ connection, isEmulated }: { connection?: Connection; isEmulated: boolean }) {
  if (isEmulated) return { host: "emulated", target: "emulated" };
  if (connection?.kind !== "ssh") return { host: "local", target: "local" };
  const { user, address, port } = connection;
  const target = `${urlHost(address)}${port ? `:${port}` : ""}`;
  return { host: `ssh://${user}@${target}`, target };
}
