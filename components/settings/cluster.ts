import * as z from "zod";
import { choice, integer, optionalInteger, optionalText, settingMeta, size } from "./fields";

/** A label of DNS, as Kubernetes names namespaces. */
const LABEL = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;
/** Names of most other objects. */
const SUBDOMAIN = /^[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?$/;
/** Names of labels, taints and extended resources: `example.com/name`, the prefix of which a resource must have. */
const QUALIFIED = /^(?:[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?\/)?[A-Za-z0-9](?:[\w.-]{0,61}[A-Za-z0-9])?$/;
const RESOURCE = /^[a-z0-9](?:[a-z0-9.-]{0,200}[a-z0-9])?\/[a-z0-9](?:[a-z0-9_.-]{0,61}[a-z0-9])?$/;
const LABEL_VALUE = /^(?:[A-Za-z0-9](?:[\w.-]{0,61}[A-Za-z0-9])?)?$/;
const PATH = /^(?!-)[^\p{C}]+$/u;

const toleration = z.strictObject({
  key: z.string().regex(QUALIFIED).optional(),
  operator: z.enum(["Exists", "Equal"]).optional(),
  value: z.string().regex(LABEL_VALUE).optional(),
  effect: z.enum(["NoSchedule", "PreferNoSchedule", "NoExecute"]).optional(),
});

/** Servers on the nodes of a Kubernetes cluster, with routers in front of them. */
export const cluster = z.strictObject({
  servers: integer(0, 0, 1000, {
    description:
      "Number of servers, each a pod with volumes of its own. 0 deploys to a host and to no cluster.",
    example: "3",
  }),
  emulated: z
    .strictObject({ nodes: integer(2, 1, 9, { description: "Number of nodes.", example: "3" }) })
    .optional()
    .register(settingMeta, {
      description:
        "Makes a cluster of emulated nodes (QEMU) on this machine, each with `emulatedMemory` and `emulatedDisk`: slow, and real.",
      accepts: "an object of nodes, which is a whole number from 1 to 9",
      example: '{"nodes":2}',
    }),
  kubeconfig: optionalText(PATH, {
    description: "Path of the kubeconfig file; `KUBECONFIG` or ~/.kube/config if not set.",
    accepts: "the path of a file",
    example: "~/.kube/sandboxes",
  }),
  context: optionalText(PATH, {
    description: "Context of the kubeconfig file; its current one if not set.",
    accepts: "the name of a context",
    example: "production",
  }),
  namespace: optionalText(LABEL, {
    description: "Namespace of all that is deployed; derived from project and stack if not set.",
    accepts: "1 to 63 lower-case letters, digits and hyphens, a letter or digit first and last",
    example: "sandboxes",
  }),
  storageClass: optionalText(SUBDOMAIN, {
    description: "Storage class of the servers' volumes; the cluster's default one if not set.",
    accepts: "the name of a storage class",
    example: "local-path",
  }),
  stateSize: size(
    "50G",
    { from: "1G", to: "1024T" },
    "200G",
    "Size of each server's volume for its state: disks of sandboxes, images.",
  ),
  workspaceSize: size(
    "10G",
    { from: "1G", to: "1024T" },
    "100G",
    "Size of each server's volume that is mounted at /workspace.",
  ),
  nodeSelector: z
    .record(z.string().regex(QUALIFIED), z.string().regex(LABEL_VALUE))
    .prefault({})
    .register(settingMeta, {
      description: "Labels of the nodes that servers may run on.",
      accepts: 'an object of labels, like {"kvm":"true"}',
      example: '{"kvm":"true"}',
    }),
  tolerations: z.array(toleration).max(50).prefault([]).register(settingMeta, {
    description: "Taints of nodes that servers may run on all the same.",
    accepts: "a list of tolerations, as in a pod",
    example: '[{"key":"sandboxes","operator":"Exists"}]',
  }),
  service: choice(["ClusterIP", "NodePort", "LoadBalancer"], "ClusterIP", {
    description:
      "How clients reach the routers: from the cluster, at a port of each node, or by a load balancer.",
    example: "LoadBalancer",
  }),
  nodePort: optionalInteger(1, 65_535, {
    description:
      "Port of each node, if `service` is NodePort, of those that the cluster has for it (by default 30000 to 32767); the cluster chooses one if not set.",
    example: "30555",
  }),
  kvmResource: optionalText(RESOURCE, {
    description:
      "Resource that nodes with KVM advertise, of a device plugin that the cluster has; if not set, one is installed.",
    accepts: "the name of a resource, like devices.kubevirt.io/kvm",
    example: "devices.kubevirt.io/kvm",
  }),
  kvmGroup: optionalInteger(1, 2_147_483_647, {
    description: "Id of the group that may use /dev/kvm on the nodes; not needed where everybody may.",
    example: "104",
  }),
});

export type ClusterSettings = z.output<typeof cluster>;

/** Whether the settings are those of a cluster. */
export const isCluster = ({ cluster }: { cluster?: Pick<ClusterSettings, "servers"> }): boolean =>
  (cluster?.servers ?? 0) > 0;

export const clusterSetting = cluster.prefault({}).register(settingMeta, {
  description: "Deploys to a Kubernetes cluster: `servers` pods on nodes with KVM, behind one endpoint.",
  accepts: `an object of ${Object.keys(cluster.shape).slice(0, -1).join(", ")} and ${Object.keys(cluster.shape).at(-1)}`,
  example: '{"servers":3}',
});
