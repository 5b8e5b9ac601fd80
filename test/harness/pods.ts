import { quantity } from "../../components/cluster/quantity";

/** What is read of a pod. */
export interface Pod {
  metadata: {
    name: string;
    namespace: string;
    uid: string;
    creationTimestamp: string;
    deletionTimestamp?: string;
    labels?: Record<string, string>;
  };
  spec: {
    nodeName?: string;
    nodeSelector?: Record<string, string>;
    /** A DaemonSet's pod is for the node that is named here. */
    affinity?: { nodeAffinity?: object };
    subdomain?: string;
    hostname?: string;
    serviceAccountName?: string;
    automountServiceAccountToken?: boolean;
    containers: {
      name: string;
      image: string;
      env?: { name: string; value?: string; valueFrom?: { fieldRef?: { fieldPath: string } } }[];
      resources?: { limits?: Record<string, string> };
      readinessProbe?: { httpGet: { path: string; port: number; scheme: string } };
      volumeMounts?: { name: string; mountPath: string }[];
    }[];
    volumes?: {
      name: string;
      secret?: { secretName: string };
      persistentVolumeClaim?: { claimName: string };
    }[];
  };
}

/** A node that a test asks for. */
export interface TestNode {
  name: string;
  /** Whether it has /dev/kvm. */
  kvm: boolean;
  labels?: Record<string, string>;
  /** Resources of it, besides 16 CPUs and 64 GiB. */
  allocatable?: Record<string, string>;
}

/** What is read of a node in the API. */
interface ApiNode {
  metadata: { name: string; labels?: Record<string, string> };
  status: { allocatable: Record<string, string> };
}

/**
 * The node for a pod, or why there is none: its labels, its name, and the devices that it has, count.
 * @param used how many pods a node has: the one with the fewest is taken
 */
export function fits(pod: Pod, all: readonly ApiNode[], used: (node: string) => number): Fit {
  const { nodeSelector = {}, affinity, containers } = pod.spec;
  const [named] = /"values":\["([^"]+)"\]/.exec(JSON.stringify(affinity ?? {}))?.slice(1) ?? [];
  const labelled = all.filter(({ metadata: { name, labels = {} } }) =>
    named === undefined
      ? Object.entries(nodeSelector).every(([key, value]) => labels[key] === value)
      : name === named,
  );
  const devices = Object.keys(containers[0]?.resources?.limits ?? {}).filter((name) => name.includes("/"));
  const able = labelled.filter(({ status }) =>
    devices.every((name) => quantity(status.allocatable[name] ?? "0") > 0),
  );
  const [best] = able.sort((one, other) => used(one.metadata.name) - used(other.metadata.name));
  if (best === undefined) {
    const lacks = labelled.length > 0 ? `Insufficient ${devices.join()}` : "no node has the labels";
    return { why: `0/${all.length} nodes are available: ${lacks}.` };
  }
  return { node: best.metadata.name };
}
type Fit = { node: string; why?: undefined } | { node?: undefined; why: string };
