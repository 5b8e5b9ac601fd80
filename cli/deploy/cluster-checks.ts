import { join } from "node:path";
import { devicesNamespace } from "../../components/cluster/devices";
import { namespaceLabels, namespaceOf } from "../../components/cluster/namespaces";
import { preflightScript, withKubeconfig } from "../../components/cluster/preflight";
import { checkedReport } from "../../components/cluster/preflight-report";
import { recordedCluster } from "../../components/cluster/recorded-cluster";
import { recordedOf, type StateResources } from "../../components/host/deployment";
import { baseNameOf, hostNameOf } from "../../components/host/names";
import { SERVICE } from "../../components/settings/hosts";
import type { StackSettings } from "../../components/settings/schema";
import { VisibleError } from "../../components/settings/visible-error";
import { exec } from "../../setup/exec";
import { projectName, projectRoot, stackName } from "../../setup/project";
import type { StateResource } from "./drift";
import { type Finding, portOf } from "./host-checks";
import { isEmulatedCluster } from "./host-resources";

const emulatedClusterScript = join(projectRoot, "emulated-host/cluster/emulated-cluster.sh");

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
  const baseName = baseNameOf(SERVICE, owner);
  const emulated = settings.cluster.emulated && (await emulatedCluster(baseName, environment));
  if (emulated?.running === false) return [await emulatedIsOff(baseName, settings, resources)];
  const cluster = {
    ...withKubeconfig(settings.cluster),
    ...(emulated && { kubeconfig: emulated.kubeconfig }),
  };
  const namespace = cluster.namespace ?? namespaceOf(baseName);
  const state: StateResources = Object.fromEntries(
    resources.map(({ urn, type, outputs = {} }) => [urn, { type, outputs }]),
  );
  const own = namespaceLabels(recordedOf(SERVICE, state).deployment ?? "", owner);
  const before = recordedCluster(SERVICE, state);
  const namespaces = [namespace, devicesNamespace(settings, namespace)] as const;
  const input = preflightScript({ ...settings, ...cluster, namespaces });
  const { stdout } = await exec("sh", ["-s"], { input, env: environment, reject: false });
  try {
    const { version, nodes } = checkedReport(String(stdout), { ...settings, ...cluster, own, before });
    const { major, minor } = version.serverVersion;
    return [{ verdict: "ok", what: `Cluster: Kubernetes ${major}.${minor}, ${nodes.length} nodes` }];
  } catch (error) {
    if (!(error instanceof VisibleError)) throw error;
    const [what = "", ...more] = error.message.split("\n");
    return [{ verdict: "stops", what, remedy: more.join("\n").trim() }];
  }
}

/** Whether all of the stack's emulated cluster runs, and how it is reached then. */
async function emulatedCluster(
  baseName: string,
  environment: Record<string, string>,
): Promise<{ running: boolean; kubeconfig: string }> {
  const words = [emulatedClusterScript, "status", hostNameOf(baseName)];
  const { stdout } = await exec("bash", words, { env: environment });
  return JSON.parse(stdout);
}

/** An `up` starts it; one that it has to make needs its port, which is the cluster's own where that was made. */
async function emulatedIsOff(
  baseName: string,
  settings: StackSettings,
  resources: readonly StateResource[],
): Promise<Finding> {
  const isMade = resources.some(isEmulatedCluster);
  const port = isMade ? undefined : await portOf(settings);
  if (port?.verdict === "stops") return port;
  return {
    verdict: "fixes",
    what: isMade
      ? `The emulated cluster ${hostNameOf(baseName)}, on which this stack is deployed, does not run, or not all of it`
      : `The emulated cluster ${hostNameOf(baseName)} does not run yet`,
    remedy: `\`npm run up\` ${isMade ? "starts" : "makes"} it.`,
  };
}
