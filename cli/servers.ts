import type { Connection } from "../components/host/connection";
import { DEFAULT_HOST, resourceName, SERVICE } from "../components/settings/hosts";
import { UserError } from "../setup/user-error";
import type { StateResource } from "./deploy/drift";
import { readResources } from "./deploy/recover";
import { type Pulumi, reasonOf, saysNoStack } from "./pulumi";

/** A server's container, and how to reach its host. */
export interface Server {
  container: string;
  connection: Connection;
}

/** A server that the state of a stack has. */
export interface StackServer extends Server {
  /** Its host's name; `default` for the only one. */
  host: string;
  /** Whether it checks API keys: not in dev mode. */
  checksKeys: boolean;
}

/**
 * The servers of a stack, also those on hosts that the last `up` could not reach or has failed on, and those whose host is no
 * longer in the settings. Its outputs lack them.
 *
 * @returns none of a stack that was never deployed
 * @throws UserError where the state can't be read
 */
export async function readServers(stack: string, pulumi: Pick<Pulumi, "read">): Promise<StackServer[]> {
  try {
    return serversIn(await readResources(stack, pulumi));
  } catch (error) {
    if (saysNoStack(error)) return [];
    throw new UserError(
      `The servers of stack ${stack} are not known, as its state can't be read: ${reasonOf(error)}\n` +
        `To see it: npm run pulumi -- stack --stack ${stack}\nThen run the command again.`,
    );
  }
}

/** The servers in a state; that of the host `default` first. */
export function serversIn(resources: readonly StateResource[]): StackServer[] {
  const named = (kind: string, name: string) =>
    resources.find(({ urn, type }) => type === kind && nameIn(urn) === name)?.outputs;
  const hosts = resources.flatMap(({ urn, type }) => (type === COMPONENT ? hostOf(nameIn(urn)) : []));
  const isDefault = (host: string) => Number(host === DEFAULT_HOST);
  hosts.sort((a, b) => isDefault(b) - isDefault(a) || a.localeCompare(b));
  return hosts.flatMap((host) => {
    const service = resourceName(SERVICE, host);
    const server = named("docker:index/container:Container", `${service}-server-container`);
    const connection = named("microsandbox:index:DockerHost", `${service}-host`)?.connection;
    if (!server?.name || !connection) return [];
    const checksKeys = !(Array.isArray(server.envs) && server.envs.includes("DEV_MODE=true"));
    return [{ host, container: server.name, connection: connection as Connection, checksKeys }];
  });
}

const COMPONENT = "microsandbox:index:Microsandbox";

const nameIn = (urn: string): string => urn.split("::").pop() ?? "";

/** The host whose component has this name. */
function hostOf(name: string): string[] {
  if (name === SERVICE) return [DEFAULT_HOST];
  return name.startsWith(`${SERVICE}-`) ? [name.slice(SERVICE.length + 1)] : [];
}
