import type { ToolName } from "./types";

/** A tool's pinned version, and which other versions found on the machine will do. */
export interface Pin {
  name: ToolName;
  version: string;
  /** The range that is accepted, in words, for messages. */
  accepts: string;
}

export const pins = {
  pulumi: { name: "pulumi", version: "3.259.0", accepts: "3.259.0 or newer, below 4" },
  language: { name: "pulumi-language-nodejs", version: "3.259.0", accepts: "the one beside pulumi" },
  docker: { name: "pulumi-resource-docker", version: "5.2.0", accepts: "5.2.0 or newer, below 6" },
  // npm's `latest` tag of @pulumi/command points at a stray 4.5.0, so newer majors are no better.
  command: { name: "pulumi-resource-command", version: "1.2.1", accepts: "1.2.1 or newer, below 2" },
} as const satisfies Record<string, Pin>;

/** Pulumi's Kubernetes plugin, which only stacks on a cluster need: the version of npm's @pulumi/kubernetes. */
export const kubernetesPlugin = {
  name: "pulumi-resource-kubernetes",
  version: "4.34.2",
  accepts: "4.34.2 or newer, below 5",
} as const satisfies Pin;

/** Versions of the programs of a Kubernetes cluster. */
export const clusterVersions = {
  etcd: "3.7.3",
  coredns: "1.15.0",
  kubernetes: "1.37.2",
  // Kubernetes 1.36 and newer need containerd 2.
  containerd: "2.4.2",
} as const;

/**
 * Whether a version found on the machine may stand in for the pinned one: the same major version, and not
 * older. A leading `v` is allowed; pre-releases are refused, they sort before their release.
 */
export function accepts(found: string, wanted: string): boolean {
  const a = parse(found);
  const b = parse(wanted);
  if (!a || !b || a[0] !== b[0]) return false;
  return a[1] !== b[1] ? a[1] > b[1] : a[2] >= b[2];
}

function parse(version: string): [number, number, number] | undefined {
  const match = /^v?(\d+)\.(\d+)\.(\d+)(\+[\w.-]+)?$/.exec(version.trim());
  return match ? [Number(match[1]), Number(match[2]), Number(match[3])] : undefined;
}
