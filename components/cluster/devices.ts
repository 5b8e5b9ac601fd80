import * as kubernetes from "@pulumi/kubernetes";
import type * as pulumi from "@pulumi/pulumi";
import type { StackSettings } from "../settings/schema";
import { awaitDevices } from "./await-devices";
import { devicePluginDaemonSet } from "./device-plugin";
import type { Kubectl } from "./kubectl";
import { kvmResource, names } from "./layout";
import { LABEL_LENGTH, namespaceMeta } from "./namespaces";
import type { ChildOptions } from "./objects";

const SUFFIX = "-devices";

/** Name of the device plugin's own namespace; undefined where the cluster has another plugin. */
export const devicesNamespace = (
  { cluster }: Pick<StackSettings, "cluster">,
  namespace: string,
): string | undefined =>
  cluster.kvmResource === undefined
    ? `${namespace.slice(0, LABEL_LENGTH - SUFFIX.length)}${SUFFIX}`
    : undefined;

export interface DevicesArgs {
  settings: StackSettings;
  kubectl: Kubectl;
  /** The server's image, which holds the plugin. */
  image: pulumi.Input<string>;
  /** The service's namespace. */
  namespace: string;
  /** Labels of the stack's namespaces. */
  own: pulumi.Output<Record<string, string>>;
  child: ChildOptions;
}

/**
 * The plugin that gives pods /dev/kvm and no other privilege, on each node. It needs a folder of the kubelet, which the
 * service's namespace forbids: so it is in one of its own.
 */
export function devicePlugin(
  name: string,
  { settings, kubectl, image, namespace, own, child }: DevicesArgs,
): pulumi.Resource[] {
  const { cluster } = settings;
  const devices = devicesNamespace(settings, namespace);
  if (devices === undefined) return [];
  const resource = kvmResource(namespace);
  const space = new kubernetes.core.v1.Namespace(
    `${name}-devices-namespace`,
    { metadata: namespaceMeta(devices, own, "privileged") },
    child,
  );
  const plugin = new kubernetes.apps.v1.DaemonSet(
    `${name}-device-plugin`,
    {
      metadata: { name: names.devicePlugin, namespace: devices },
      spec: devicePluginDaemonSet({ image, resource, cluster }),
    },
    { ...child, parent: space },
  );
  const { nodeSelector } = cluster;
  const found = awaitDevices(
    name,
    { kubectl, nodeSelector, namespace: devices, plugin, resource },
    child.parent,
  );
  return [space, plugin, found];
}
