import type { types } from "@pulumi/kubernetes";
import type { Input } from "@pulumi/pulumi";
import { stopMargin } from "../server/container";
import { serverUser } from "../server/server-user";
import { serverHome } from "../server/stack-files";
import type { ClusterSettings } from "../settings/cluster";
import { egressVariable } from "../settings/egress";
import { limitVariables } from "../settings/limits";
import type { HostSettings } from "../settings/schema";
import { MIB } from "../settings/values";
import { warmVariable } from "../settings/warm";
import {
  BACKEND_PORT,
  liveness,
  names,
  type PodSpec,
  peers,
  readiness,
  restricted,
  selector,
  spread,
  variables,
} from "./layout";

/** Port of the server's own answer to probes. No key is taken there. */
const PORT = 5555;
/** The label of a pod with its number, which Kubernetes sets since 1.28. */
const NUMBER = "metadata.labels['apps.kubernetes.io/pod-index']";

export type ServerPodSettings = Pick<
  HostSettings,
  | ("autoPullImages" | "cpuLimit" | "cpuReservation" | "egress" | "egressAllow" | "isolateByKey")
  | ("limits" | "memoryLimit" | "memoryReservation" | "stopTimeout" | "timezone" | "warm")
> & { cluster: ClusterSettings };

/** What the servers' pods are told of the cluster besides the settings. */
export interface ServerPodArgs {
  /** Reference that the nodes pull. */
  image: Input<string>;
  /** Resource of nodes with KVM. */
  kvm: string;
}

/**
 * The servers: each has a number, an address and two volumes that stay its own on whichever node it runs. One at a time is
 * replaced; where one does not get ready, the others stay as they are.
 */
export function serverSet(
  settings: ServerPodSettings,
  args: ServerPodArgs,
): types.input.apps.v1.StatefulSetSpec {
  const { cluster } = settings;
  return {
    serviceName: names.servers,
    replicas: cluster.servers,
    // At once: servers don't know each other.
    podManagementPolicy: "Parallel",
    updateStrategy: { type: "RollingUpdate", rollingUpdate: { partition: 0 } },
    revisionHistoryLimit: 10,
    // `destroy` says what becomes of them; a server that comes back has its own.
    persistentVolumeClaimRetentionPolicy: { whenDeleted: "Retain", whenScaled: "Retain" },
    selector: { matchLabels: selector("servers") },
    template: { metadata: { labels: selector("servers") }, spec: serverPod(settings, args) },
    volumeClaimTemplates: [
      claim("state", cluster.stateSize, cluster.storageClass),
      claim("workspace", cluster.workspaceSize, cluster.storageClass),
    ],
  };
}

function serverPod(settings: ServerPodSettings, { image, kvm }: ServerPodArgs): PodSpec {
  const { cluster, stopTimeout } = settings;
  const { pod, container } = restricted(serverUser);
  return {
    ...{ automountServiceAccountToken: false, enableServiceLinks: false },
    securityContext: {
      ...pod,
      ...(cluster.kvmGroup === undefined ? {} : { supplementalGroups: [cluster.kvmGroup] }),
    },
    terminationGracePeriodSeconds: stopTimeout + stopMargin,
    nodeSelector: cluster.nodeSelector,
    tolerations: cluster.tolerations,
    topologySpreadConstraints: spread("servers"),
    containers: [
      {
        name: "server",
        ...{ image, imagePullPolicy: "IfNotPresent" },
        env: [
          ...variables(environment(settings)),
          { name: "SERVER_NUMBER", valueFrom: { fieldRef: { fieldPath: NUMBER } } },
        ],
        ports: [{ name: "backend", containerPort: BACKEND_PORT }],
        resources: resources(settings, kvm),
        readinessProbe: readiness(PORT, "HTTP"),
        livenessProbe: liveness(PORT, "HTTP"),
        securityContext: container,
        volumeMounts: [
          { name: "state", mountPath: serverHome },
          { name: "workspace", mountPath: "/workspace" },
          peers.mount,
          { name: "tmp", mountPath: "/tmp" },
        ],
      },
    ],
    volumes: [peers.volume, { name: "tmp", emptyDir: { medium: "Memory", sizeLimit: "256Mi" } }],
  };
}

/** The gateway's settings; docker/gateway/src/config.ts reads them. */
function environment(settings: ServerPodSettings): Record<string, string | number | boolean> {
  return {
    ...{ PORT, BACKEND_PORT, DEV_MODE: false, OWN_SANDBOXES: settings.isolateByKey },
    ...peers.variables,
    AUTO_PULL_IMAGES: settings.autoPullImages,
    EGRESS: egressVariable(settings),
    STOP_TIMEOUT_SECONDS: settings.stopTimeout,
    TZ: settings.timezone,
    ...warmVariable(settings.warm),
    ...limitVariables(settings.limits),
  };
}

/** Memory is not shared out twice: a server that used what it did not ask for would be ended with its sandboxes. */
function resources(settings: ServerPodSettings, kvm: string) {
  const { memoryLimit, memoryReservation, cpuLimit, cpuReservation } = settings;
  const device = { [kvm]: "1" };
  const mebibytes = (bytes: number) => `${Math.floor(bytes / MIB)}Mi`;
  const millis = (cpus: number) => `${Math.round(cpus * 1000)}m`;
  return {
    requests: { memory: mebibytes(memoryReservation), cpu: millis(cpuReservation), ...device },
    limits: { memory: mebibytes(memoryLimit), cpu: millis(cpuLimit), ...device },
  };
}

/** Bytes as a claim asks for them. */
export const storageOf = (bytes: number): string => `${Math.floor(bytes / MIB)}Mi`;

function claim(name: string, bytes: number, storageClass: string | undefined) {
  return {
    metadata: { name },
    spec: {
      accessModes: ["ReadWriteOnce"],
      ...(storageClass === undefined ? {} : { storageClassName: storageClass }),
      resources: { requests: { storage: storageOf(bytes) } },
    },
  };
}
