import type { Input } from "@pulumi/pulumi";
import { selector } from "./layout";

/** A toleration of a taint, as in a pod. */
export interface Toleration {
  key?: string;
  operator?: string;
  value?: string;
  effect?: string;
}

export interface DevicePluginArgs {
  /** The server's image, which holds the plugin, too. */
  image: Input<string>;
  /** Resource that nodes offer, and servers' pods ask for. @example "sandboxes.microsandbox.dev/kvm" */
  resource: string;
  /** The nodes: those of the servers. */
  cluster: {
    /** Labels that a node must have. @default none: all nodes */
    nodeSelector?: Record<string, string>;
    /** Taints that a node may have. @default none */
    tolerations?: Toleration[];
  };
}

/** The kubelet's folder for sockets of plugins: a fixed path, whatever the kubelet's own root folder is. */
const FOLDER = "/var/lib/kubelet/device-plugins";

/** Containers of one node that can have the device at once: more than fit on any. */
const DEVICES = 1000;

/** What Node holds of the heap, in MiB: the program needs a tenth. Without it, a quarter of the node's memory would be its limit. */
const HEAP_MIB = 32;

/**
 * The pod of the device plugin: by it a pod without privileges gets /dev/kvm. It has no privileges itself, no token of
 * Kubernetes and no capability. It is root all the same: the folder of the kubelet belongs to root, mode 0750.
 *
 * No default of Kubernetes is left out that would show as a change at a refresh.
 */
export const devicePluginPodSpec = (args: DevicePluginArgs) => ({
  automountServiceAccountToken: false,
  enableServiceLinks: false,
  ...{ nodeSelector: args.cluster.nodeSelector ?? {}, tolerations: args.cluster.tolerations ?? [] },
  terminationGracePeriodSeconds: 10,
  securityContext: {
    ...{ runAsUser: 0, runAsGroup: 0, runAsNonRoot: false },
    seccompProfile: { type: "RuntimeDefault" },
  },
  containers: [container(args)],
  volumes: [{ name: "device-plugins", hostPath: { path: FOLDER, type: "Directory" } }],
});

const container = (args: DevicePluginArgs) => ({
  name: "device-plugin",
  image: args.image,
  imagePullPolicy: "IfNotPresent",
  // Not the image's own command, which is the server's.
  command: ["node", `--max-old-space-size=${HEAP_MIB}`, "/opt/gateway/device-plugin.cjs"],
  env: [
    { name: "KVM_RESOURCE", value: args.resource },
    { name: "KVM_DEVICES", value: String(DEVICES) },
    // By the kernel's word: a pod that mounts the device waits for ever on a node without, and each `up` with it.
    { name: "KVM_DEVICE", value: "" },
    { name: "DEVICE_PLUGINS_FOLDER", value: FOLDER },
  ],
  securityContext: {
    privileged: false,
    allowPrivilegeEscalation: false,
    readOnlyRootFilesystem: true,
    capabilities: { drop: ["ALL"] },
  },
  resources: {
    requests: { cpu: "10m", memory: "64Mi" },
    limits: { cpu: "500m", memory: "128Mi" },
  },
  volumeMounts: [{ name: "device-plugins", mountPath: FOLDER, readOnly: false }],
});

/** All of the DaemonSet's specification. One pod of a node ends before the next starts: running sandboxes keep the device. */
export const devicePluginDaemonSet = (args: DevicePluginArgs) => {
  const labels = selector("device-plugin");
  return {
    selector: { matchLabels: labels },
    updateStrategy: { type: "RollingUpdate", rollingUpdate: { maxSurge: 0, maxUnavailable: 1 } },
    template: { metadata: { labels }, spec: devicePluginPodSpec(args) },
  };
};
