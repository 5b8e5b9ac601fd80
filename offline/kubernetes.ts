import { clusterVersions, kubernetesPlugin } from "../setup/tools/pins";
import type { ClusterToolName, ContainerdProgram } from "../setup/tools/types";
import type { GoRecipe } from "./recipes";

const { containerd, coredns, etcd, kubernetes } = clusterVersions;
const [major, minor] = kubernetes.split(".");
const version = "k8s.io/component-base/version";

/** A program of Kubernetes: all are of one module, and each is built by itself. */
function program(name: ClusterToolName, takes: string): GoRecipe {
  return {
    name,
    dir: "kubernetes",
    version: kubernetes,
    packagePath: `k8s.io/kubernetes/cmd/${name}`,
    variables: [
      `${version}.gitVersion=v${kubernetes}`,
      `${version}.gitMajor=${major}`,
      `${version}.gitMinor=${minor}`,
    ],
    takes,
  };
}

function containerdProgram(name: ContainerdProgram): GoRecipe {
  const module = "github.com/containerd/containerd/v2";
  return {
    name,
    dir: "containerd",
    version: containerd,
    packagePath: `${module}/cmd/${name}`,
    variables: [`${module}/version.Version=v${containerd}`],
    // btrfs needs a C compiler.
    tags: "no_btrfs netgo osusergo",
    takes: "half a minute",
  };
}

/** The programs of a Kubernetes cluster. */
export const clusterRecipes: Record<ClusterToolName, GoRecipe> = {
  etcd: {
    name: "etcd",
    dir: "etcd",
    version: etcd,
    packagePath: "go.etcd.io/etcd/server/v3",
    variables: [],
    takes: "half a minute",
  },
  coredns: {
    name: "coredns",
    dir: "coredns",
    version: coredns,
    packagePath: ".",
    variables: [],
    takes: "a minute",
  },
  "kube-apiserver": program("kube-apiserver", "4 minutes"),
  "kube-controller-manager": program("kube-controller-manager", "2 minutes"),
  "kube-scheduler": program("kube-scheduler", "a minute"),
  "kube-proxy": program("kube-proxy", "a minute"),
  kubelet: program("kubelet", "2 minutes"),
  kubectl: program("kubectl", "a minute"),
  containerd: containerdProgram("containerd"),
  "containerd-shim-runc-v2": containerdProgram("containerd-shim-runc-v2"),
  ctr: containerdProgram("ctr"),
};

/**
 * Pulumi's Kubernetes plugin, from the newest sources that the Go module proxy has (January 2026). It serves programs of
 * the pinned npm package, and says so as a version that Pulumi takes for that one.
 */
export const kubernetesPluginRecipe: GoRecipe = {
  name: kubernetesPlugin.name,
  dir: kubernetesPlugin.name,
  version: kubernetesPlugin.version,
  packagePath: ".",
  variables: [`main.version=${kubernetesPlugin.version}+sources.of.4.24.1`],
  embeds: {
    module: "github.com/pulumi/pulumi-kubernetes/provider/v4",
    file: "cmd/pulumi-resource-kubernetes/schema.json",
    as: "schema.json",
  },
  takes: "5 minutes",
};
