import { UserError } from "../setup/user-error";
import { type Pulumi, reasonOf, saysNoStack } from "./pulumi";

/** Outputs of one server, as components/fleet.ts writes them. */
export interface ServerOutputs {
  endpoint?: string;
  /** In dev mode with a placeholder key: any is accepted. */
  environment?: Record<string, string>;
  /** Where its container is: set for one on a host. */
  server?: unknown;
}

/** The outputs of a stack: those of its only host, or those of each one by its name. */
export interface StackOutputs extends ServerOutputs {
  hosts?: Record<string, ServerOutputs>;
  /** Of a cluster: where all of it is. */
  namespace?: string;
}

/** The outputs of the last `up`; none of a stack that was never deployed. @throws UserError where they can't be read */
export async function readOutputs(stack: string, pulumi: Pick<Pulumi, "read">): Promise<StackOutputs> {
  try {
    return JSON.parse(await pulumi.read(["stack", "output", "--json", "--stack", stack]));
  } catch (error) {
    if (saysNoStack(error)) return {};
    throw new UserError(
      `The outputs of stack ${stack} can't be read: ${reasonOf(error)}\n` +
        `To see them: npm run pulumi -- stack output --stack ${stack}\nThen run the command again.`,
    );
  }
}

/** Whether an output has the API key of a host; without one, of the only host. */
export type KeyShown = (host?: string) => boolean;

/** Which API keys are in the outputs of a deployed stack. */
export async function showsKey(stack: string, pulumi: Pick<Pulumi, "read">): Promise<KeyShown> {
  const words = ["stack", "output", "--json", "--show-secrets", "--stack", stack];
  const outputs: { apiKey?: string; apiKeys?: Record<string, string> } = JSON.parse(await pulumi.read(words));
  return (host) => Boolean(host === undefined ? outputs.apiKey : outputs.apiKeys?.[host]);
}
