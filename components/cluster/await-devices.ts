import type * as pulumi from "@pulumi/pulumi";
import type { ClusterSettings } from "../settings/cluster";
import { clusterCommand, type Kubectl } from "./kubectl";
import { names } from "./layout";

/** A plugin registers within ten seconds. */
const SECONDS = 30;

export interface AwaitDevicesArgs {
  kubectl: Kubectl;
  /** Labels of the nodes for servers. */
  nodeSelector: ClusterSettings["nodeSelector"];
  /** Where the plugin is. */
  namespace: string;
  plugin: pulumi.Resource;
  /** What the plugin advertises. */
  resource: string;
}

/**
 * Waits for a node that has KVM, by the word of our own plugin: nothing of the service is made before. It fails with a
 * sentence where there is none.
 */
export function awaitDevices(
  name: string,
  { kubectl, nodeSelector, namespace, plugin, resource }: AwaitDevicesArgs,
  parent: pulumi.Resource,
): pulumi.Resource {
  const selector = Object.entries(nodeSelector).map((pair) => pair.join("="));
  const variables = {
    ...{ SELECTOR: selector.join(","), RESOURCE: resource, SECONDS_TO_WAIT: SECONDS },
    LOGS: `kubectl logs --namespace ${namespace} daemonset/${names.devicePlugin}`,
  };
  return clusterCommand(
    `${name}-kvm`,
    { kubectl, script: "cluster/await-devices", variables, triggers: [selector.join()] },
    { parent, dependsOn: plugin },
  );
}
