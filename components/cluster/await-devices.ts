import { local } from "@pulumi/command";
import type * as pulumi from "@pulumi/pulumi";
import { withVariables } from "../host/connection";
import { script } from "../host/scripts";
import type { ClusterSettings } from "../settings/cluster";
import { names } from "./layout";
import { kubectlVariables } from "./preflight";

/** A plugin registers within ten seconds. */
const SECONDS = 30;

/**
 * Waits for a node that has KVM, by the word of our own plugin: nothing of the service is made before. It fails with a
 * sentence where there is none.
 */
export function awaitDevices(
  name: string,
  cluster: ClusterSettings,
  { namespace, plugin, resource }: { namespace: string; plugin: pulumi.Resource; resource: string },
  parent: pulumi.Resource,
): pulumi.Resource {
  const selector = Object.entries(cluster.nodeSelector).map((pair) => pair.join("="));
  const variables = {
    ...kubectlVariables(cluster),
    ...{ SELECTOR: selector.join(","), RESOURCE: resource, SECONDS_TO_WAIT: SECONDS },
    LOGS: `kubectl logs --namespace ${namespace} daemonset/${names.devicePlugin}`,
  };
  const stdin = withVariables(variables, script("cluster/await-devices"));
  return new local.Command(
    `${name}-kvm`,
    { create: "sh -s", stdin, triggers: [selector.join()], logging: "none", addPreviousOutputInEnv: false },
    { parent, dependsOn: plugin },
  );
}
