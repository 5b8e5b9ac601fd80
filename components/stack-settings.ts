// Parts of Pulumi, not all of it: the commands that run before it need the settings too, and soon.
import { getStack } from "@pulumi/pulumi/metadata";
import * as stackConfig from "@pulumi/pulumi/runtime/config";
import { checkSettings } from "./settings/checks";
import { type HostSettings, NAMESPACE, type StackSettings } from "./settings/schema";
import { explainErrors } from "./settings/setting-errors";
import { VisibleError } from "./settings/visible-error";

/**
 * Reads the settings of the current stack: everything below `microsandbox:`.
 *
 * @returns the stack's own settings, and those of each host by its name: of the host `default` where the stack has no
 *   `hosts`, of none on a cluster
 * @throws VisibleError as `parseSettings` does; a value that is stored as a secret is not shown in it
 */
export function readStackSettings(): { settings: StackSettings; hosts: Record<string, HostSettings> } {
  const raw: Record<string, unknown> = {};
  const secretKeys: string[] = [];
  for (const [name, value] of Object.entries(stackConfig.allConfig())) {
    if (!name.startsWith(`${NAMESPACE}:`)) continue;
    const key = name.slice(NAMESPACE.length + 1);
    raw[key] = value;
    if (isSecret(name)) secretKeys.push(key);
  }
  const { settings, hosts, errors } = checkSettings(raw, secretKeys);
  if (settings === undefined) throw new VisibleError(explainErrors(errors, { stack: getStack() }));
  return { settings, hosts };
}

/** Whether the stack's configuration holds a key encrypted. Pulumi knows, but doesn't declare it. */
function isSecret(name: string): boolean {
  const { isConfigSecret } = stackConfig as { isConfigSecret?: (key: string) => boolean };
  return isConfigSecret?.(name) ?? false;
}
