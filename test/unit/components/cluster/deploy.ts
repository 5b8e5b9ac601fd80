import { deployCluster } from "../../../../components/cluster-stack";
import { checkSettings } from "../../../../components/settings/checks";
import { explainErrors } from "../../../../components/settings/setting-errors";
import { healthyCluster, healthyHost, type Registered, registered } from "../../../harness/pulumi-mocks";

/** Deploys to a healthy cluster, whose nodes have the resource of another device plugin, too. */
export function deploy(raw: Record<string, unknown>): Promise<Registered[]> {
  const { settings, errors } = checkSettings(raw);
  if (settings === undefined) throw new Error(explainErrors(errors));
  const nodes = healthyCluster.nodes.map((node) => ({
    ...node,
    allocatable: { ...node.allocatable, "devices.kubevirt.io/kvm": "1000" },
  }));
  const host = { ...healthyHost, cluster: { ...healthyCluster, nodes } };
  return registered(() => deployCluster("microsandbox", settings), host);
}
