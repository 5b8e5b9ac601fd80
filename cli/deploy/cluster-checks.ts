import { devicesNamespace } from "../../components/cluster/devices";
import { namespaceLabels, namespaceOf } from "../../components/cluster/namespaces";
import { preflightScript, withKubeconfig } from "../../components/cluster/preflight";
import { checkedReport } from "../../components/cluster/preflight-report";
import { recordedOf, type StateResources } from "../../components/host/deployment";
import { baseNameOf } from "../../components/host/names";
import { SERVICE } from "../../components/settings/hosts";
import type { StackSettings } from "../../components/settings/schema";
import { VisibleError } from "../../components/settings/visible-error";
import { exec } from "../../setup/exec";
import { projectName, stackName } from "../../setup/project";
import type { StateResource } from "./drift";
import type { Finding } from "./host-checks";

/** The read-only checks that `up` makes on a cluster first. */
export async function checkCluster(
  settings: StackSettings,
  {
    stack,
    resources,
    environment,
  }: { stack: string; resources: readonly StateResource[]; environment: Record<string, string> },
): Promise<Finding[]> {
  const owner = { project: projectName(), stack: stackName(stack) };
  const cluster = withKubeconfig(settings.cluster);
  const namespace = cluster.namespace ?? namespaceOf(baseNameOf(SERVICE, owner));
  const state: StateResources = Object.fromEntries(
    resources.map(({ urn, type, outputs = {} }) => [urn, { type, outputs }]),
  );
  const own = namespaceLabels(recordedOf(SERVICE, state).deployment ?? "", owner);
  const namespaces = [namespace, devicesNamespace(settings, namespace)] as const;
  const input = preflightScript({ ...settings, ...cluster, namespaces });
  const { stdout } = await exec("sh", ["-s"], { input, env: environment, reject: false });
  try {
    const { version, nodes } = checkedReport(String(stdout), { ...settings, ...cluster, own });
    const { major, minor } = version.serverVersion;
    return [{ verdict: "ok", what: `Cluster: Kubernetes ${major}.${minor}, ${nodes.length} nodes` }];
  } catch (error) {
    if (!(error instanceof VisibleError)) throw error;
    const [what = "", ...more] = error.message.split("\n");
    return [{ verdict: "stops", what, remedy: more.join("\n").trim() }];
  }
}
