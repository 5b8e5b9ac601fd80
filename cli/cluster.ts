import { existsSync, readFileSync } from "node:fs";
import { delimiter, dirname } from "node:path";
import { parseDocument } from "yaml";
import { readableHosts } from "../components/settings/checks";
import { NAMESPACE } from "../components/settings/schema";
import { fromText, isObject } from "../components/settings/text-form";
import { stackFile } from "../setup/project";
import type { Reporter } from "../setup/report";
import { emulatedClusterTools, ensureClusterTools, ensureTools, type Tools } from "../setup/tools";
import { UserError } from "../setup/user-error";

/**
 * Whether the settings file of a stack deploys it to a cluster. Of settings that come from elsewhere, Pulumi alone knows:
 * it downloads the Kubernetes plugin by itself when it needs it.
 */
export function isOnCluster(stack: string): boolean {
  const cluster = clusterOf(stack);
  return cluster !== undefined && Object.keys(readableHosts({ cluster })).length === 0;
}

/** Whether that cluster is one of emulated nodes, which an up makes. */
export function isOnEmulatedCluster(stack: string): boolean {
  const cluster = fromText("cluster", clusterOf(stack));
  return isObject(cluster) && cluster.emulated !== undefined && isOnCluster(stack);
}

/** Why a command that works on hosts does nothing for a stack on a cluster. @param namespace that is known to have it */
export function onCluster(stack: string, namespace?: string): UserError {
  const where = namespace
    ? `--namespace ${namespace}`
    : "--all-namespaces --selector app.kubernetes.io/name=microsandbox";
  return new UserError(
    `Stack ${stack} is on a cluster: this command works on hosts only. Clients use the endpoint: docs/cluster.md\n` +
      `To see its servers: kubectl get pods ${where}`,
  );
}

/** The setting `cluster` in the settings file of a stack. */
function clusterOf(stack: string): unknown {
  const file = stackFile(stack);
  if (!existsSync(file)) return undefined;
  const { config }: { config?: Record<string, unknown> } =
    parseDocument(readFileSync(file, "utf8")).toJS() ?? {};
  return config?.[`${NAMESPACE}:cluster`];
}

/** Tools of a stack on a cluster; on an emulated one, that cluster's own programs are found on PATH, too. */
export async function clusterTools(stack: string, report: Reporter): Promise<Tools> {
  const tools = await ensureTools(report, { kubernetes: true });
  if (!isOnEmulatedCluster(stack)) return tools;
  const programs = await ensureClusterTools(emulatedClusterTools, report);
  const folders = new Set(Object.values(programs).map((path) => dirname(path)));
  const PATH = [...folders, tools.env.PATH].join(delimiter);
  return { ...tools, env: { ...tools.env, PATH } };
}
