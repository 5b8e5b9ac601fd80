/** Where a tool in use came from. */
export type Origin = "path" | "official" | "built" | "stand-in";

/** The tools that stacks need, by the name of their executable. */
export type ToolName =
  | "pulumi"
  | "pulumi-language-nodejs"
  | "pulumi-resource-docker"
  | "pulumi-resource-command"
  | "pulumi-resource-kubernetes";

/** Tools that only some stacks need: neither looked for, nor fetched, nor built unless they are asked for. */
export interface Extras {
  /** Pulumi's Kubernetes plugin. Default: without it. */
  kubernetes?: boolean;
}

/** Programs of a Kubernetes cluster, by the name of their executable: got one by one, when they are asked for. */
export type ClusterToolName =
  | "etcd"
  | "coredns"
  | "kube-apiserver"
  | "kube-controller-manager"
  | "kube-scheduler"
  | "kube-proxy"
  | "kubelet"
  | "kubectl"
  | ContainerdProgram;

/** What runs the pods of a node: the daemon, its shim and its command line, which are released as one. */
export type ContainerdProgram = "containerd" | "containerd-shim-runc-v2" | "ctr";

/** What {@link ensureTools} made available. */
export interface Tools {
  /** Directory to prepend to PATH; holds all executables of the set. */
  binDir: string;
  /** Environment for every pulumi process, PATH included; merge it over `process.env`. */
  env: Record<string, string>;
  /** Where each tool came from. */
  origins: Record<string, Origin>;
}

/** One line of `npm run doctor` about a tool. */
export interface ToolStatus {
  name: ToolName;
  /** The version in use, or the one that is wanted where the tool is absent. */
  version: string;
  present: boolean;
  /** Path of the executable, or what would be done to get it. */
  where: string;
  /** What to type where the tool is absent. */
  remedy?: string;
}
