import { DEFAULT_HOST } from "../../components/settings/hosts";
import { UserError } from "../../setup/user-error";
import type { SetupHost } from "../stack";
import type { StateResource } from "./drift";
import { resourcesOf } from "./host-resources";

/**
 * A stack with one host has the names of the host `default`. Where it gets several and none of them is called so, its
 * server would go, and a new one begin without its data: probably not what is meant.
 *
 * @throws UserError with what to type
 */
export function refuseToDropFirstHost(
  stack: string,
  hosts: readonly SetupHost[],
  resources: readonly StateResource[],
): void {
  const outputs = resources.find(({ type }) => type === "pulumi:pulumi:Stack")?.outputs;
  const deployed = resourcesOf({ name: DEFAULT_HOST }, resources);
  if (outputs?.hosts !== undefined || deployed.length === 0) return;
  if (hosts.some(({ name }) => name === DEFAULT_HOST)) return;
  const names = hosts.map(({ name }) => name).join(", ");
  throw new UserError(
    `Stack ${stack} has a server that was deployed without \`hosts\`: it is that of the host \`default\`, and \`hosts\` names ` +
      `${names}.\nIt would be removed, and the others begin without its sandboxes. Nothing was changed.\n` +
      "  to keep it: call its host `default` in `hosts`, whatever the others are called\n" +
      `  to be without it: npm run destroy -- --stack ${stack}, then npm run up -- --stack ${stack}`,
  );
}
